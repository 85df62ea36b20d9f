import io

import numpy as np
import pytest
from PIL import Image

from clf_runtime import Classifier, ImageError, explain
from clf_runtime.commands.predict import main
from clf_runtime.explanation.heat_map import beside
from clf_runtime.explanation.png import png

SPOT = np.full((3, 32, 32), 60, np.uint8)
SPOT[0, 20:24, 6:10] = 255  # the only thing that is red, so that the tiny model names red


@pytest.fixture
def classifier(tiny_model):
    return lambda **options: Classifier(tiny_model(size=(32, 32), **options), "tiny.onnx")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_spot_is_found_in_every_kind_of_model(classifier, dtype, layout):
    tiny = classifier(dtype=dtype, layout=layout)
    found = explain(tiny, SPOT)
    assert (found.index, found.name, found.runs, found.patch) == (0, "red", 289, (4, 4))
    assert found.probability == pytest.approx(tiny.predict(SPOT).probability, abs=1e-6)
    row, column = divmod(int(found.heat.argmax()), 32)
    assert 20 <= row < 24
    assert 6 <= column < 10
    assert found.seconds > 0
    assert found.image.shape == (3, 32, 32)
    other = explain(tiny, SPOT, index=2)
    assert other.name == "blue"
    assert other.heat.argmin() == found.heat.argmax()


def test_the_picture_shows_the_image_and_red_on_the_spot(classifier):
    with Image.open(io.BytesIO(explain(classifier(), SPOT).to_png())) as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape == (256, 520, 3)
    assert (pixels[170, 60] == [255, 60, 60]).all()  # the image itself, each pixel a square of 8
    on_the_spot, beside_it = pixels[176, 264 + 64], pixels[40, 264 + 200]
    assert on_the_spot[0] > on_the_spot[2] + 100
    assert np.ptp(beside_it) < 10


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_of_any_channels_are_drawn(channels):
    image = np.linspace(-1, 1, channels * 12 * 20, dtype=np.float32).reshape(channels, 12, 20)
    drawn = beside(image, np.zeros((12, 20), np.float32), (-1.0, 1.0))
    assert drawn.shape == (264, 888, 3)
    assert drawn[0, 0].mean() < drawn[-1, 430].mean()


def test_a_png_holds_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_what_cannot_be_explained_is_an_error(classifier):
    with pytest.raises(ImageError, match="2 images, expected one"):
        explain(classifier(), np.stack([SPOT, SPOT]))
    with pytest.raises(ValueError, match="3 classes, not 3"):
        explain(classifier(), SPOT, index=3)


def test_the_command_writes_a_png_and_says_how_long_it_took(command, tiny_file, tmp_path):
    np.save(tmp_path / "x.npy", SPOT[:, 16:24, 4:12])
    out = tmp_path / "new" / "x.png"
    ended = command(main, tmp_path / "x.npy", "--model", tiny_file, "--explain", out)
    assert ended.code == 0
    assert ended.out.startswith(f"{tmp_path / 'x.npy'}: red ")
    assert f"{out}: where red was seen: 81 patches of 2x2 pixels covered in 0." in ended.err
    with Image.open(out) as picture:
        assert picture.size == (520, 256)
    assert [file.name for file in out.parent.iterdir()] == ["x.png"]


@pytest.mark.parametrize(
    ("images", "out", "said"),
    [
        (["x.npy", "x.npy"], "o.png", "--explain takes one image"),
        (["-"], "o.png", "not standard input"),
        (["x.npy"], "o.jpg", "must end in .png"),
        (["x.npy"], "there.png", "there.png: exists already"),
        (["x.npy"], "x.npy/o.png", "x.npy is a file, not a folder"),
        (["two.npy"], "o.png", "two.npy: more than one image"),
        (["*.npy"], "o.png", "2 files; --explain takes one image"),
        (["missing.npy"], "o.png", "missing.npy: cannot be read"),
        (["--card"], "o.png", "excludes --card and --self-test"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_no_file(command, tiny_file, tmp_path, monkeypatch, images, out, said):
    monkeypatch.chdir(tmp_path)
    image = np.zeros((3, 8, 8), np.uint8)
    np.save("x.npy", image)
    np.save("two.npy", np.stack([image, image]))
    (tmp_path / "there.png").write_bytes(b"mine")
    ended = command(main, *images, "--model", tiny_file, "--explain", out, "--quiet")
    assert ended.code == 2
    assert ended.out == ""
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    assert not (tmp_path / "o.png").exists()
