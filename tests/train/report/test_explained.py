import numpy as np
import pytest
from PIL import Image

from clf_train.data.assembly import assemble
from clf_train.data.dataset import Part, Parts
from clf_train.report.explained import save_explained


def made(errors, side=16):
    """Eight black images of two classes, of which the first `errors` have a white spot and are taken for the other."""
    images = np.zeros((8, 3, side, side), np.uint8)
    images[:errors, :, 2:6, 2:6] = 255
    part = Part(images, np.arange(8) % 2, "x")
    probabilities = np.full((8, 2), 0.1, np.float32)
    probabilities[np.arange(8), part.labels] = 0.9
    probabilities[:errors] = probabilities[:errors, ::-1]
    return assemble("x", Parts("test", part, part, ("$x$", "猫 " * 40))), probabilities


def by_the_spot(images):
    """The spot alone decides for class 1."""
    odds = np.exp(images[:, :, 2:6, 2:6].astype(float).mean((1, 2, 3)) / 50 - 2)
    return np.stack([1 / (1 + odds), odds / (1 + odds)], 1).astype(np.float32)


@pytest.mark.filterwarnings("ignore:Glyph")
def test_the_spot_of_a_mistake_is_red_in_the_report(tmp_path):
    dataset, probabilities = made(1)
    save_explained(dataset, probabilities, by_the_spot, tmp_path / "e.png")
    with Image.open(tmp_path / "e.png") as picture:
        pixels = np.asarray(picture).astype(int)
    red = (pixels[..., 0] > pixels[..., 2] + 80) & (pixels[..., 3] == 255)
    rows, columns = np.nonzero(red)
    white = np.nonzero((pixels == 255).all(2))[1]
    assert len(rows) > 500
    assert columns.min() > white.max()  # the heat map is beside the image


def test_without_mistakes_there_is_no_file(tmp_path):
    dataset, probabilities = made(0)
    save_explained(dataset, probabilities, by_the_spot, tmp_path / "e.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("side", "maps"), [(16, 2), (128, 1), (200, 0)])
def test_large_images_have_fewer_mistakes_explained(tmp_path, side, maps):
    dataset, probabilities = made(4, side)
    runs = []

    def scores(images):
        runs.append(len(images))
        return by_the_spot(images)

    save_explained(dataset, probabilities, scores, tmp_path / "e.png")
    assert sum(runs) == maps * 290
    assert (tmp_path / "e.png").exists() == (maps > 0)
