import numpy as np
import pytest
from PIL import Image

from clf_train.data.assembly import assemble
from clf_train.data.dataset import Part, Parts
from clf_train.evaluation.metrics import measure
from clf_train.evaluation.suspects import find_suspects
from clf_train.report.plots import for_display, save_confused, save_confusion, save_sheet, save_suspects

RED_ABOVE_BLUE = np.zeros((3, 8, 8), np.uint8)
RED_ABOVE_BLUE[0, :4] = 255
RED_ABOVE_BLUE[2, 4:] = 255


@pytest.mark.parametrize(
    ("image", "value_range"),
    [
        (RED_ABOVE_BLUE, (0.0, 255.0)),
        (RED_ABOVE_BLUE / np.float32(255), (0.0, 1.0)),
        (RED_ABOVE_BLUE / np.float32(127.5) - 1, (-1.0, 1.0)),
    ],
)
def test_an_image_is_shown_upright_in_true_colours(image, value_range):
    shown = for_display(image, value_range)
    assert shown.shape == (8, 8, 3)
    np.testing.assert_allclose(shown[0, 0], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(shown[7, 7], [0, 0, 1], atol=1e-6)


def test_a_grey_image_is_shown_grey():
    assert for_display(np.zeros((1, 8, 8), np.uint8), (0.0, 255.0)).shape == (8, 8)


def test_a_sheet_shows_red_above_blue(tmp_path):
    images = np.stack([RED_ABOVE_BLUE] * 20)
    part = Part(images, np.arange(20) % 2, "x")
    save_sheet(assemble("x", Parts("test", part, part, ("$x$", "猫"))), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    rows_of_red = np.flatnonzero(((pixels == [255, 0, 0]).all(2)).any(1))
    rows_of_blue = np.flatnonzero(((pixels == [0, 0, 255]).all(2)).any(1))
    assert len(rows_of_red) > 20
    assert rows_of_red.min() < rows_of_blue.min()
    assert rows_of_red.max() < rows_of_blue.max()


@pytest.mark.parametrize("classes", [2, 10, 60])
def test_a_confusion_matrix_of_any_size_is_drawn(tmp_path, classes):
    probabilities = np.random.default_rng(0).random((300, classes), dtype=np.float32)
    metrics = measure(probabilities, np.arange(300) % classes)
    save_confusion(metrics, [f"class {i}" for i in range(classes)], tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size[0] > 200


def colours(file):
    with Image.open(file) as picture:
        assert picture.mode == "RGBA"
        return np.asarray(picture).reshape(-1, 4)


def mistaken(image, value_range_of, names=("$x$", "猫 " * 40)):
    """Six test images, of which the first alone is taken for the other class; the others are black."""
    images = np.stack([image, *[np.zeros_like(image)] * 4, value_range_of])
    part = Part(images, np.arange(6) % 2, "x")
    probabilities = np.eye(2, dtype=np.float32)[part.labels]
    probabilities[0] = [0.2, 0.8]
    return assemble("x", Parts("test", part, part, names)), probabilities


@pytest.mark.parametrize("scale", [np.uint8(1), np.float32(1 / 255)])
def test_the_mistaken_image_is_shown_in_true_colours(tmp_path, scale):
    dataset, probabilities = mistaken(RED_ABOVE_BLUE * scale, np.full_like(RED_ABOVE_BLUE, 255) * scale)
    save_confused(dataset, probabilities, tmp_path / "c.png")
    shown = colours(tmp_path / "c.png")
    red, blue, white = ((shown == [*colour, 255]).all(1).sum() for colour in ((255, 0, 0), (0, 0, 255), (255,) * 3))
    assert red > 5000
    assert blue > 5000
    assert white == 0  # the image that was told right is not there, nor is a white background
    assert (shown[:, 3] == 0).any()


def test_a_mistaken_grey_float_image_is_shown(tmp_path):
    grey = np.full((1, 8, 6), 1, np.float32)
    dataset, probabilities = mistaken(grey, grey * 0)
    save_confused(dataset, probabilities, tmp_path / "c.png")
    assert (colours(tmp_path / "c.png") == 255).all(1).sum() > 5000


def test_without_a_mistake_there_is_no_picture(tmp_path):
    dataset, probabilities = mistaken(RED_ABOVE_BLUE, RED_ABOVE_BLUE)
    probabilities[0] = [1, 0]
    save_confused(dataset, probabilities, tmp_path / "c.png")
    assert list(tmp_path.iterdir()) == []


def test_a_suspected_label_is_shown_in_true_colours(tmp_path):
    dataset, probabilities = mistaken(RED_ABOVE_BLUE, np.full_like(RED_ABOVE_BLUE, 255))
    suspects = find_suspects(probabilities, dataset.train.labels, dataset.place)
    assert suspects.count == 0  # the class that it is taken for has 1.0 elsewhere
    assert save_suspects(dataset, suspects, tmp_path / "s.png") is None
    assert list(tmp_path.iterdir()) == []
    probabilities[0] = [0, 1]
    suspects = find_suspects(probabilities, dataset.train.labels, dataset.place)
    assert [suspect.place for suspect in suspects.first] == ["x[0]"]
    save_suspects(dataset, suspects, tmp_path / "s.png")
    shown = colours(tmp_path / "s.png")
    red, white = ((shown == [*colour, 255]).all(1).sum() for colour in ((255, 0, 0), (255,) * 3))
    assert (red > 5000, white) == (True, 0)
