"""A net that cannot be rebuilt from its weights is refused before it is trained for long, or before there is a run."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from clf_train import find_recipe
from clf_train.data.assembly import assemble
from clf_train.data.normalisation import Normalisation
from clf_train.errors import FactoryError, RunError
from clf_train.loop import probe
from clf_train.loop.rebuild import build_from, pack_weights, probe_rebuilt
from clf_train.models.recipe import change
from clf_train.runs.run import load_net, read_run
from clf_train.training import train

MODULE = "nets_of_this_test"


class Linear(nn.Module):
    def __init__(self, image_shape, classes):
        super().__init__()
        self.fc = nn.Linear(int(np.prod(image_shape)), classes)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Buffered(Linear):
    def __init__(self, image_shape, classes):
        super().__init__(image_shape, classes)
        self.register_buffer("gain", torch.ones(classes), persistent=False)

    def forward(self, x):
        if self.training:
            self.gain *= 1.1
        return super().forward(x) * self.gain


class Counting(Linear):
    steps = 0

    def forward(self, x):
        self.steps += self.training
        return super().forward(x) * (1 + self.steps)


class Projecting(Linear):
    def __init__(self, image_shape, classes):
        super().__init__(image_shape, classes)
        self.matrix = torch.randn(classes, classes)

    def forward(self, x):
        return super().forward(x) @ self.matrix


class Dropping(Linear):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, training=True))


class Late(Linear):
    """Turns its answers round after so many steps that the rehearsal does not see it."""

    _steps = 0

    def forward(self, x):
        self._steps += self.training
        return super().forward(x) * (-1 if self._steps > 3 else 1)


class Harmless(Linear):
    """Keeps things that its answers do not depend on, and draws numbers in training only."""

    def __init__(self, image_shape, classes):
        super().__init__(image_shape, classes)
        self.norm = nn.BatchNorm2d(image_shape[0])
        self.drop = nn.Dropout(0.2)
        self.calls, self.last = 0, None

    def forward(self, x):
        self.calls += 1
        self.last = self.drop(self.norm(x))
        return super().forward(self.last)


@pytest.fixture
def dataset(good_parts):
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 6), dtype=np.uint8)
    images[np.arange(60), np.arange(60) % 3] //= 2
    return assemble("source", good_parts(images))


def fitted(name, dataset, folder):
    model = f"{MODULE}:{name}"
    recipe = change(find_recipe("fast", model), {"epochs": 5, "batch_size": 20, "validation_share": 0.0})
    return train(dataset, {model: recipe}, folder)[0]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, MODULE, SimpleNamespace(**globals()))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Buffered", r"state outside of its state_dict \(gain\)"),
        ("Counting", r"state outside of its state_dict \(steps\)"),
        ("Projecting", r"state outside of its state_dict \(matrix\)"),
        ("Dropping", "not deterministic in evaluation mode"),
    ],
)
def test_a_net_that_is_lost_in_saving_is_refused_before_there_is_a_folder(name, said, dataset, tmp_path):
    with pytest.raises(FactoryError, match=said) as error:
        fitted(name, dataset, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_one_that_shows_late_leaves_no_run(dataset, tmp_path):
    with pytest.raises(FactoryError, match=r"rebuilt from its weights, the net gives other outputs .* \(_steps\)"):
        fitted("Late", dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_does_not_touch_the_answers_is_allowed(dataset, tmp_path):
    run = fitted("Harmless", dataset, tmp_path / "run")
    load_net(tmp_path / "run", read_run(tmp_path / "run"), run.model)


def test_a_rebuilt_net_has_the_weights_and_the_scores(dataset):
    torch.manual_seed(0)
    normalise = Normalisation(dataset.mean, dataset.std)
    net = Linear(dataset.image_shape, 3)
    model = f"{MODULE}:Harmless"
    with pytest.raises(RunError, match="not the weights of this run"):
        build_from(pack_weights(net), model, dataset.image_shape, 3, "weights")
    net = Harmless(dataset.image_shape, 3)
    images = probe.choose_images(dataset, 0)
    made = probe_rebuilt(net, pack_weights(net), model, images, normalise)
    assert (made.images is images, made.scores.shape) == (True, (33, 3))
