"""The pretrained model, the whole way: pictures, a run, a proven file, a prediction."""

import numpy as np
import pytest
from PIL import Image

from clf_export.commands.export import main as export
from clf_runtime import Classifier
from clf_runtime.commands.predict import main as predict
from clf_train.commands.train import main as train
from clf_train.models.efficientnet_lite0 import WEIGHTS

pytestmark = [
    pytest.mark.skipif(WEIGHTS.missing() is not None, reason=str(WEIGHTS.missing())),
    pytest.mark.usefixtures("no_drawing", "quick_exports"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """20 pictures of noise a class, 32x32 pixels, each class with more of a colour of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for label, name in enumerate(("reds", "greens", "blues")):
        (folder / name).mkdir()
        for i in range(20):
            pixels = random.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[:, :, label] += 100
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
    return folder


def test_from_pictures_to_predictions(command, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("--data", str(pictures), "--model", "efficientnet_lite0")
    assert "3x224x224" in command(train, *arguments, "--show").out
    ended = command(train, *arguments, "--image-size", "32", "--out", "run", "--quiet")  # faster
    assert ended.code == 0, ended.err
    ended = command(export, "run", "--quiet")
    assert ended.code == 0, ended.err
    assert "verified against PyTorch" in ended.out
    card = Classifier.load("run.onnx").card
    assert card.pretrained == str(WEIGHTS)
    assert card.familiarity.images == 48  # in folds: none of them need be held out
    assert ("Apache-2.0" in card.pretrained, "ImageNet" in card.pretrained) == (True, True)
    picture = str(pictures / "greens" / "03.png")
    assert "greens" in command(predict, picture, "--model", "run.onnx").out
    assert "began with:" in command(predict, "--card", "--model", "run.onnx").out
