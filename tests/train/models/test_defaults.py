import numpy as np
import pytest

from clf_train.commands.train import main
from clf_train.models.defaults import default_model, default_size
from clf_train.models.efficientnet_lite0 import WEIGHTS


@pytest.fixture
def is_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(type(WEIGHTS), "_find", lambda self: tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("size", "recipe", "model"),
    [
        ((224, 224), "fast", "efficientnet_lite0"),
        ((40, 65), "best", "efficientnet_lite0"),
        ((64, 64), "fast", None),
        ((31, 500), "fast", None),
        ((224, 224), "seed", None),
    ],
)
def test_photographs_begin_with_the_backbone_and_small_pictures_do_not(is_installed, size, recipe, model):
    found, said = default_model(size, recipe)
    assert (found, bool(said)) == (model, model is not None)


@pytest.mark.parametrize(
    ("models", "size"),
    [(("simple", "conv"), None), (("efficientnet_lite0",), 224), (("efficientnet_lite1", "efficientnet_lite0"), 240)],
)
def test_pictures_get_the_size_that_the_weights_were_trained_on(models, size):
    assert default_size(models) == (None if size is None else (size, size))


@pytest.mark.usefixtures("no_drawing")
def test_without_the_weights_one_line_shows_how_to_install_them(command, tmp_path, monkeypatch):
    monkeypatch.setattr(type(WEIGHTS), "_find", lambda self: None)
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 66, 33), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(12) % 2)
    ended = command(main, "--data", str(tmp_path / "set.npz"), "--epochs", "1", "--out", str(tmp_path / "run"))
    assert ended.code == 0, ended.err
    assert ended.err.count('pip install "clf-edge[pretrained]"') == 1
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["comparison.html", "conv", "simple"]
