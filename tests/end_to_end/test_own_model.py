"""A user's own net, as docs/your-own-model.md tells it: trained, exported, run."""

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from clf_export.commands.export import main as export_main
from clf_runtime.commands.predict import main as predict_main
from clf_train import read_source
from clf_train.commands.train import main as train_main

GUIDE = Path(__file__).parents[2] / "docs" / "your-own-model.md"
MAINS = {"clf-train": train_main, "clf-export": export_main, "clf-predict": predict_main}

pytestmark = pytest.mark.usefixtures("no_drawing", "quick_exports")

BLOCKS = dict(re.findall(r"```(python|sh)\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL))
TRAIN, EXPORT, PREDICT = (shlex.split(line) for line in BLOCKS["sh"].splitlines())


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


def test_the_guide_s_commands_work(tmp_path, here):
    digits = read_source("digits")
    np.save(tmp_path / "image.npy", digits.test.images[0])
    (tmp_path / "nets.py").write_text(BLOCKS["python"])
    shorter = ("--epochs", "6", "--batch-size", "32", "--learning-rate", "0.02")
    for words in ([*TRAIN, *shorter], EXPORT):
        ended = here(words)
        assert ended.code == 0, ended.err
    record = json.loads((tmp_path / "mine" / "run.json").read_text())
    assert record["model"] == "nets:tiny"
    assert record["test"]["accuracy"] > 0.5
    answered = here(PREDICT, "--json")
    assert answered.code == 0, answered.err
    assert json.loads(answered.out)["name"] == str(digits.test.labels[0])


@pytest.fixture
def mine(tmp_path, here):
    """The guide's nets.py and the run that its first command leaves, of one epoch."""
    (tmp_path / "nets.py").write_text(BLOCKS["python"])
    assert here(TRAIN, "--epochs", 1, "--quiet").code == 0


@pytest.mark.usefixtures("mine")
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
    assert here(["clf-export", "tied", "--model", "odd:tied", "--familiarity", "off", "--quiet"]).code == 0
    failed = here(["clf-train", "--model", "odd:Fails", "--out", "fails", "--quiet"])
    assert (failed.code, failed.err) == (
        2,
        "clf-train: odd:Fails: fails in training: RuntimeError: not today (odd.py, line 11)\n",
    )
    assert not list(tmp_path.glob("fails*"))


@pytest.mark.usefixtures("mine")
def test_what_is_exported_or_repeated_is_the_net_that_was_trained(tmp_path, here):
    code = (tmp_path / "nets.py").read_text()
    (tmp_path / "nets.py").write_text(code.replace("nn.ReLU()", "nn.LeakyReLU(-1.0)"))
    for command in (EXPORT, ["clf-train", "--like", "mine", "--model", "nets:tiny", "--out", "again"]):
        refused = here(command, "--quiet")
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
        assert "the weights are those of the training, but nets:tiny gives other outputs now" in refused.err
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != "__pycache__") == ["mine", "nets.py"]
    (tmp_path / "nets.py").write_text(code)
    exported = here(EXPORT, "--familiarity", "off")
    assert exported.code == 0, exported.err
    assert "weights and outputs match those recorded in training; test accuracy reproduced" in exported.out


def test_a_net_that_ends_in_a_softmax_gets_a_hint_in_training_and_in_the_export(tmp_path, here):
    (tmp_path / "sure.py").write_text(
        "from torch import nn\n"
        "def twice(image_shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, classes), nn.Softmax(1))\n"
    )
    train = ["clf-train", "--model", "sure:twice", "--epochs", "1", "--out", "run"]
    for command in (train, ["clf-export", "run", "--model", "sure:twice", "--familiarity", "off"]):
        ended = here(command)
        assert ended.code == 0, ended.err
        assert ended.err.count("sure:twice: the net seems to end in a softmax") == 1
