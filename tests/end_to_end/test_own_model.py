"""A user's own net, as docs/your-own-model.md tells it: trained, exported, run."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clf_export.commands.export import main as export_main
from clf_train import read_source
from clf_train.commands.train import main as train_main

GUIDE = Path(__file__).parents[2] / "docs" / "your-own-model.md"
MAINS = {"clf-train": train_main, "clf-export": export_main}
MODULES = {"clf-train": "clf_train", "clf-export": "clf_export", "clf-predict": "clf_runtime"}


BLOCKS = dict(re.findall(r"```(python|sh)\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL))
TRAIN, EXPORT, PREDICT = (shlex.split(line) for line in BLOCKS["sh"].splitlines())


def run(command, *more, cwd):
    words = [sys.executable, "-m", MODULES[command[0]], *command[1:], *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the guide's nets.py and the run that its first command leaves."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "nets.py").write_text(BLOCKS["python"])
    ended = run(TRAIN, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture
def here(command, tmp_path, monkeypatch):
    """Run a command in this process, in a folder with nets of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def run_here(words, *more):
        for name in ("nets", "odd", "sure"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return command(MAINS[words[0]], *words[1:], *more)

    return run_here


@pytest.fixture
def copied(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.usefixtures("copied")
def test_the_guide_works_word_for_word(tmp_path):
    digits = read_source("digits")
    np.save(tmp_path / "image.npy", digits.test.images[0])
    record = json.loads((tmp_path / "mine" / "run.json").read_text())
    assert record["model"] == "nets:tiny"
    assert record["test"]["accuracy"] > 0.8
    exported = run(EXPORT, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    answered = run(PREDICT, "--json", cwd=tmp_path)
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["name"] == str(digits.test.labels[0])


@pytest.mark.usefixtures("copied")
def test_code_is_imported_only_if_it_is_named(tmp_path, here):
    trap = "open('ran', 'w').close()\n" + (tmp_path / "nets.py").read_text()
    (tmp_path / "nets.py").write_text(trap)
    unnamed = [word for word in EXPORT if word not in ("--model", "nets:tiny")]
    for command in (unnamed, ["clf-train", "--like", "mine"]):
        refused = here(command, "--quiet")
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
        assert "to import" in refused.err
        assert "pass --model nets:tiny" in refused.err
    assert not (tmp_path / "ran").exists()
    again = here(["clf-train", "--like", "mine", "--model", "nets:tiny", "--out", "again"])
    assert again.code == 0, again.err
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("mine", "again")]
    assert weights[0] == weights[1]


def test_tied_weights_and_a_net_that_fails_in_training(tmp_path, here):
    (tmp_path / "odd.py").write_text(
        "from torch import nn\n"
        "def tied(image_shape, classes):\n"
        "    a, b = nn.Linear(32, 32), nn.Linear(32, 32)\n"
        "    b.weight = a.weight\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 32), a, nn.ReLU(), b, nn.Linear(32, classes))\n"
        "class Fails(nn.Module):\n"
        "    def __init__(self, image_shape, classes):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(3072, classes)\n"
        "    def forward(self, x):\n"
        "        if self.training: raise RuntimeError('not\\ntoday')\n"
        "        return self.fc(x.flatten(1))\n"
    )
    tied = ["clf-train", "--model", "odd:tied", "--epochs", "1", "--out", "tied", "--quiet"]
    assert here(tied).code == 0
    assert here(["clf-export", "tied", "--model", "odd:tied", "--quiet"]).code == 0
    failed = here(["clf-train", "--model", "odd:Fails", "--out", "fails", "--quiet"])
    assert (failed.code, failed.err) == (
        2,
        "clf-train: odd:Fails: fails in training: RuntimeError: not today (odd.py, line 11)\n",
    )
    assert not list(tmp_path.glob("fails*"))


@pytest.mark.usefixtures("copied")
def test_what_is_exported_or_repeated_is_the_net_that_was_trained(tmp_path, here):
    code = (tmp_path / "nets.py").read_text()
    (tmp_path / "nets.py").write_text(code.replace("nn.ReLU()", "nn.LeakyReLU(-1.0)"))
    for command in (EXPORT, ["clf-train", "--like", "mine", "--model", "nets:tiny", "--out", "again"]):
        refused = here(command, "--quiet")
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
        assert "the weights are those of the training, but nets:tiny gives other outputs now" in refused.err
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != "__pycache__") == ["mine", "nets.py"]
    (tmp_path / "nets.py").write_text(code)
    exported = here(EXPORT)
    assert exported.code == 0, exported.err
    assert (
        "the weights' SHA-256 and the probe are those of the training; the test accuracy is found anew" in exported.out
    )


def test_a_net_that_ends_in_a_softmax_gets_a_hint_in_training_and_in_the_export(tmp_path, here):
    (tmp_path / "sure.py").write_text(
        "from torch import nn\n"
        "def twice(image_shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, classes), nn.Softmax(1))\n"
    )
    train = ["clf-train", "--model", "sure:twice", "--epochs", "1", "--out", "run"]
    for command in (train, ["clf-export", "run", "--model", "sure:twice"]):
        ended = here(command)
        assert ended.code == 0, ended.err
        assert ended.err.count("sure:twice: the net seems to end in a softmax") == 1
