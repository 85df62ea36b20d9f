"""A training that is stopped and gone on with ends with the very weights of one that was not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation
from clf_train.errors import RunError, Stopped
from clf_train.loop import checkpoint
from clf_train.loop.fit import Watcher, fit
from clf_train.models.recipe import Recipe
from clf_train.models.registry import build_model, find_architecture

CPU = torch.device("cpu")
AS_IS = Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
PLAIN = Recipe("plain", 4, 8, 0.02, schedule="onecycle", momentum=0.9, nesterov=True, flip=True, shift=1)
HELD = np.arange(0, 90, 9)


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    return Split(rng.random((90, 3, 16, 16), dtype=np.float32), np.arange(90) % 3)


def dropping(image_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, classes))


class Counting(nn.Module):
    """Fades its input by a number that it keeps in a plain attribute, and counts in a buffer that is not persistent."""

    def __init__(self, slope):
        super().__init__()
        self.fc = nn.Linear(768, 3)
        self.steps, self.slope = 0, slope
        self.register_buffer("gain", torch.ones(1), persistent=False)

    def forward(self, x):
        if self.training:
            self.steps += 1
            self.gain *= 0.99
        return nn.functional.leaky_relu(self.fc(x.flatten(1)), self.slope) * self.gain * (1 + self.steps % 5)


class Rewritten(Counting):
    def forward(self, x):
        return -super().forward(x)


NETS = {
    "dropping": lambda: dropping((3, 16, 16), 3),
    "counting": lambda: Counting(0.1),
    "edited": lambda: Counting(-1.0),
    "rewritten": lambda: Rewritten(0.1),
}


def train(split, recipe, model, state_file=None, stop_after=None, seed=5):
    """Train until the end, or until so many questions whether to stop; every call is as a process of its own."""
    torch.manual_seed(1)
    net = NETS[model]() if model in NETS else build_model(model, (3, 16, 16), 3)
    asked = []

    def stopping():
        asked.append(True)
        return stop_after is not None and len(asked) > stop_after

    images = split.images[:3] * np.float32(2)
    tricks = {} if model in NETS else find_architecture(model).tricks
    watcher = Watcher(stopping=stopping)
    fitted = fit(net, split, recipe, AS_IS, CPU, seed, watcher, HELD, state_file, probe_images=images, tricks=tricks)
    return torch.cat([p.detach().flatten().double() for p in net.state_dict().values()]), fitted


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("conv", {}),
        ("conv", {"channels_last": True, "optimizer": "muon", "nesterov": False, "freeze_after": 0.5}),
        ("conv", {"channels_last": True, "whiten": True, "bias_share": 0.5}),
        ("simple", {"low_frequencies": 4, "freeze_after": 0.4, "patience": 2, "validation_share": 0.1}),
        ("simple", {"optimizer": "adam", "momentum": 0, "nesterov": False, "learning_rate": 0.001}),
        ("conv", {"optimizer": "adamw", "momentum": 0, "nesterov": False, "shuffle": False}),
        ("dropping", {}),
        ("counting", {}),
    ],
)
def test_stops_do_not_change_a_bit(split, tmp_path, model, changes):
    recipe = replace(PLAIN, **changes)
    expected, whole = train(split, recipe, model)
    stops = 0
    while True:
        try:
            weights, fitted = train(split, recipe, model, tmp_path / "state.pt", stop_after=7)
            break
        except Stopped:
            stops += 1
    assert stops >= 3  # in the middle of an epoch and at its end
    assert torch.equal(weights, expected)
    assert fitted.best_epoch == whole.best_epoch
    assert [(e.loss, e.validation_loss) for e in fitted.history] == [(e.loss, e.validation_loss) for e in whole.history]


def test_a_state_is_readable_without_running_anything(split, tmp_path):
    file = tmp_path / "state.pt"
    with pytest.raises(Stopped, match="stopped in epoch 1"):
        train(split, PLAIN, "conv", file, stop_after=2)
    content = torch.load(file, weights_only=True)
    assert (content["epoch"], content["batch"]) == (1, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:100],
        lambda b: b"",
        lambda b: b[:200] + b"x" * 50 + b[250:],
        lambda b: b[:9000] + bytes([b[9000] ^ 64]) + b[9001:],  # one bit, in the weights
    ],
)
def test_a_damaged_state_is_one_clear_error(split, tmp_path, damage):
    file = tmp_path / "state.pt"
    with pytest.raises(Stopped):
        train(split, PLAIN, "conv", file, stop_after=2)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(RunError, match=r"state\.pt: damaged"):
        train(split, PLAIN, "conv", file)


def test_the_state_of_another_recipe_or_model_is_refused(split, tmp_path):
    file = tmp_path / "state.pt"
    with pytest.raises(Stopped):
        train(split, PLAIN, "conv", file, stop_after=2)
    for recipe, model, seed in ((replace(PLAIN, epochs=5), "conv", 5), (PLAIN, "simple", 5), (PLAIN, "conv", 6)):
        with pytest.raises(RunError, match="of another"):
            train(split, recipe, model, file, seed=seed)


def test_code_that_changed_meanwhile_is_refused(split, tmp_path):
    file = tmp_path / "state.pt"
    with pytest.raises(Stopped):
        train(split, PLAIN, "counting", file, stop_after=7)
    with pytest.raises(RunError, match=r"state\.pt: damaged, or .*the net has other attributes now \(slope\)"):
        train(split, PLAIN, "edited", file)
    with pytest.raises(RunError, match=r"state\.pt: the weights are as saved, but the net gives other outputs now"):
        train(split, PLAIN, "rewritten", file)
    train(split, PLAIN, "counting", file)


def test_a_flipped_bit_is_never_gone_on_from(split, tmp_path):
    file = tmp_path / "state.pt"
    with pytest.raises(Stopped):
        train(split, PLAIN, "conv", file, stop_after=7)
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.integers(8)
        file.write_bytes(damaged)
        with pytest.raises(RunError, match="damaged"):
            train(split, PLAIN, "conv", file, stop_after=0)


def test_a_state_that_cannot_be_written_leaves_the_last_one(split, tmp_path, monkeypatch):
    file = tmp_path / "state.pt"
    written = []

    def fail(state, recipe, seed, scores, path):
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(path))
        written.append(state.epoch)
        checkpoint_save(state, recipe, seed, scores, path)

    checkpoint_save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        train(split, PLAIN, "conv", file)
    assert torch.load(file, weights_only=True)["epoch"] == 3
