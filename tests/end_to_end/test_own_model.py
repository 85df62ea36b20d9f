"""A user's own net, as docs/your-own-model.md tells it: trained, exported, run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clf_train import read_source

GUIDE = Path(__file__).parents[2] / "docs" / "your-own-model.md"
MODULES = {"clf-train": "clf_train", "clf-export": "clf_export", "clf-predict": "clf_runtime"}


@pytest.fixture
def guide(tmp_path):
    blocks = dict(re.findall(r"```(python|sh)\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL))
    (tmp_path / "nets.py").write_text(blocks["python"])
    return [shlex.split(line) for line in blocks["sh"].splitlines()]


def run(command, *more, cwd):
    words = [sys.executable, "-m", MODULES[command[0]], *command[1:], *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_the_guide_works_word_for_word(guide, tmp_path):
    train, export, predict = guide
    digits = read_source("digits")
    np.save(tmp_path / "image.npy", digits.test.images[0])
    trained = run(train, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    record = json.loads((tmp_path / "mine" / "run.json").read_text())
    assert record["model"] == "nets:tiny"
    assert record["test"]["accuracy"] > 0.8
    exported = run(export, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    answered = run(predict, "--json", cwd=tmp_path)
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["name"] == str(digits.test.labels[0])


def test_code_is_imported_only_if_it_is_named(guide, tmp_path):
    train, export, _ = guide
    assert run(train, "--epochs", "1", cwd=tmp_path).returncode == 0
    trap = "open('ran', 'w').close()\n" + (tmp_path / "nets.py").read_text()
    (tmp_path / "nets.py").write_text(trap)
    unnamed = [word for word in export if word not in ("--model", "nets:tiny")]
    for command in (unnamed, ["clf-train", "--like", "mine"]):
        refused = run(command, "--quiet", cwd=tmp_path)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert "to import" in refused.stderr
        assert "pass --model nets:tiny" in refused.stderr
    assert not (tmp_path / "ran").exists()
    again = run(["clf-train", "--like", "mine", "--model", "nets:tiny", "--out", "again"], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("mine", "again")]
    assert weights[0] == weights[1]


def test_tied_weights_and_a_net_that_fails_in_training(guide, tmp_path):
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
    assert run(tied, cwd=tmp_path).returncode == 0
    assert run(["clf-export", "tied", "--model", "odd:tied", "--quiet"], cwd=tmp_path).returncode == 0
    failed = run(["clf-train", "--model", "odd:Fails", "--out", "fails", "--quiet"], cwd=tmp_path)
    assert (failed.returncode, failed.stderr) == (
        2,
        "clf-train: odd:Fails: fails in training: RuntimeError: not today (odd.py, line 11)\n",
    )
    assert not list(tmp_path.glob("fails*"))


def test_what_is_exported_or_repeated_is_the_net_that_was_trained(guide, tmp_path):
    train, export, _ = guide
    assert run(train, "--epochs", "1", cwd=tmp_path).returncode == 0
    code = (tmp_path / "nets.py").read_text()
    (tmp_path / "nets.py").write_text(code.replace("nn.ReLU()", "nn.LeakyReLU(-1.0)"))
    for command in (export, ["clf-train", "--like", "mine", "--model", "nets:tiny", "--out", "again"]):
        refused = run(command, "--quiet", cwd=tmp_path)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert "its weights are those of the training, but nets:tiny is another net now" in refused.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != "__pycache__") == ["mine", "nets.py"]
    (tmp_path / "nets.py").write_text(code)
    exported = run(export, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert (
        "the weights' SHA-256 and the probe are those of the training; the test accuracy is found anew"
        in exported.stdout
    )


def test_a_net_that_ends_in_a_softmax_gets_a_hint_in_training_and_in_the_export(tmp_path):
    (tmp_path / "sure.py").write_text(
        "from torch import nn\n"
        "def twice(image_shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, classes), nn.Softmax(1))\n"
    )
    train = ["clf-train", "--model", "sure:twice", "--epochs", "1", "--out", "run"]
    for command in (train, ["clf-export", "run", "--model", "sure:twice"]):
        ended = run(command, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr.count("sure:twice: the net seems to end in a softmax") == 1
