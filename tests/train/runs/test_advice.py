"""Commands that messages suggest run as they are printed."""

import shlex
import signal
from dataclasses import replace
from pathlib import Path

from clf_runtime.model.geometry import USUAL
from clf_train import find_recipe
from clf_train.runs.advice import resume_command
from clf_train.runs.plan import SCHEMA, Plan

NETS = """
import time
from torch import nn
class Slow(nn.Module):
    def __init__(self, image_shape, classes):
        super().__init__()
        self.linear = nn.Linear(image_shape[0], classes)
    def forward(self, x):
        time.sleep(0.01)
        return self.linear(x.mean((2, 3)))
"""


def plan(*models, processes=1):
    recipes = {model: find_recipe("fast", model) for model in models}
    return Plan(SCHEMA, "digits", ("a", "b"), "f", (8, 8), USUAL, recipes, 0, "cpu", 1, processes)


def test_the_command_names_what_it_needs_and_quotes_it():
    assert resume_command(Path("run"), plan("conv")) == "clf-train --resume run"
    assert resume_command(Path("my run"), plan("conv", "nets:a", "nets:b")) == (
        "clf-train --resume 'my run' --model nets:a,nets:b"
    )
    assert resume_command(Path("-x"), plan("conv")) == "clf-train --resume ./-x"


def test_several_processes_are_started_as_they_were(monkeypatch):
    two = replace(plan("simple"), processes=2)
    assert resume_command(Path("run"), two) == "torchrun --nproc-per-node=2 -m clf_train --resume run"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # on one of two hosts, which only their user knows
    assert resume_command(Path("run"), two) == "torchrun ... -m clf_train --resume run"


def test_the_command_that_is_printed_goes_on_with_one_s_own_model(start_training, tmp_path):
    (tmp_path / "slow_nets.py").write_text(NETS)
    metrics = tmp_path / "my run.partial" / "metrics.csv"

    def epochs():
        return [line.partition(",")[0] for line in metrics.read_text().splitlines()[1:]] if metrics.exists() else []

    def stopped(*arguments):
        """Train for two more epochs; returns what was said."""
        behind = len(epochs())
        training = start_training(*arguments, cwd=tmp_path)
        while len(epochs()) < behind + 2:  # they are written as it goes
            assert training.ended(0.02) is None
        training.send(signal.SIGINT)
        return training.ended()[2].splitlines()

    lines = stopped("--model", "slow_nets:Slow", "--epochs", 300, "--out", "my run")
    assert any("slow_nets:Slow, epoch 2/300: loss" in line for line in lines)  # a line an epoch, without a terminal
    command = shlex.split(lines[-1].partition("resume with: ")[2])
    assert command == ["clf-train", "--resume", "my run", "--model", "slow_nets:Slow"]
    lines = stopped(*command[1:])
    assert any("resuming after epoch" in line for line in lines)
    assert epochs() == [str(n) for n in range(1, len(epochs()) + 1)]  # none is there twice
