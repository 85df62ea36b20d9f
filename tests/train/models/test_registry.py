"""A new architecture is one file and one line."""

import json

import pytest

from clf_train.commands.train import main
from clf_train.models.registry import MODELS

pytestmark = pytest.mark.usefixtures("no_drawing")

NEW = """
from pathlib import Path

from torch import nn

from clf_train.models.architecture import Architecture, Hooks
from clf_train.models.recipe import Recipe

RECIPES = {"quick": Recipe("quick", 2, 100, 0.1)}


def linear(image_shape, classes):
    channels, height, width = image_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))


def no_bias(net, image_shape, recipe):
    bias = net[1].bias
    nn.init.zeros_(bias)
    return Hooks(frozen=lambda done: [bias] if done >= 0.5 else [], finish=lambda: Path("finished").touch())


ARCHITECTURE = Architecture(linear, RECIPES, {"no_bias": no_bias})
"""


@pytest.fixture
def new(tmp_path, monkeypatch):
    (tmp_path / "linear_model.py").write_text(NEW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "linear", "linear_model")
    return tmp_path


def test_a_new_architecture_trains_by_its_recipe_and_tricks(command, new):
    ended = command(main, "--model", "linear", "--recipe", "quick", "--out", "run", "--quiet")
    assert ended.code == 0, ended.err
    assert "linear: test accuracy" in ended.out
    run = json.loads((new / "run" / "run.json").read_text())
    assert (run["model"], run["recipe"]["name"], run["test"]["accuracy"] > 0.8) == ("linear", "quick", True)
    assert (new / "finished").exists()
    assert command(main, "--like", "run", "--out", "again", "--quiet").code == 0
    weights = [(new / folder / "weights.safetensors").read_bytes() for folder in ("run", "again")]
    assert weights[0] == weights[1]


def test_its_recipes_are_named_where_another_is_asked_for(command, new):
    ended = command(main, "--model", "linear", "--recipe", "fast")
    assert (
        ended.code,
        "recipe 'fast' is for simple and conv and resnet8 and efficientnet_lite0 and efficientnet_lite1 only"
        in ended.err,
    ) == (2, True)
    ended = command(main, "--model", "conv", "--recipe", "slow")
    assert (ended.code, "choose one of seed, fast, best, quick" in ended.err) == (2, True)
