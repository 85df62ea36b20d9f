"""Commands that messages suggest run as they are printed."""

import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

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
    return Plan(SCHEMA, "digits", ("a", "b"), "f", recipes, 0, "cpu", 1, processes)


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


def test_the_command_that_is_printed_goes_on_with_one_s_own_model(tmp_path):
    (tmp_path / "slow_nets.py").write_text(NETS)
    code = "from clf_train.commands.train import main; main()"
    start = ["--model", "slow_nets:Slow", "--epochs", "300", "--out", "my run"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *start], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "my run.partial" / "metrics.csv"
    lines = iter(process.stderr.readline, "")
    assert any("slow_nets:Slow, epoch 2/300: loss" in line for line in lines)  # a line an epoch, without a terminal
    assert len(metrics.read_text().splitlines()) >= 3  # as it goes
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=100)[1].splitlines()[-1]
    command = shlex.split(said.partition("resume with: ")[2])
    assert command == ["clf-train", "--resume", "my run", "--model", "slow_nets:Slow"]
    rest = [sys.executable, "-c", code, *command[1:]]
    process = subprocess.Popen(rest, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = iter(process.stderr.readline, "")
    assert any("resuming after epoch" in line for line in lines)
    assert any("epoch" in line for line in lines)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    epochs = [line.partition(",")[0] for line in metrics.read_text().splitlines()[1:]]
    assert epochs == [str(n) for n in range(1, len(epochs) + 1)]  # none is there twice
