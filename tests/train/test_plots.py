import numpy as np
import pytest
from PIL import Image

from clf_train.dataset import Part, Parts, assemble
from clf_train.metrics import measure
from clf_train.plots import for_display, save_confused, save_confusion, save_sheet

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


def test_the_sheet_of_mistakes_shows_them_or_is_not_made(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 3
    for channels, dtype in ((1, np.float32), (3, np.uint8), (4, np.uint8)):
        images = (rng.random((12, channels, 8, 6)) * (1 if dtype == np.float32 else 255)).astype(dtype)
        part = Part(images, labels, "part")
        dataset = assemble("x", Parts("x", part, part), ("$a$", "b" * 90, "c"))
        right = np.eye(3, dtype=np.float32)[labels]
        file = tmp_path / f"{channels}.png"
        save_confused(dataset, right, file)
        assert not file.exists()
        save_confused(dataset, right[:, [1, 0, 2]], file)
        assert file.read_bytes().startswith(b"\x89PNG")
