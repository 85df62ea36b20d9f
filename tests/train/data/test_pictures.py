"""Pictures in class-named folders: what each kind becomes, and what is refused."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clf_runtime.model.geometry import Geometry
from clf_train.data.scaling import usual_size
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Write = Callable[..., Path]
ReadOne = Callable[[Path, str, bytes], np.ndarray]
HEIGHT, WIDTH = 8, 6
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SIX = [f"{part}/{name}" for part in ("train/cat", "train/dog", "test/cat") for name in ("1.png", "2.png")]


def make_picture(seed: int = 0) -> Image.Image:
    """An RGB picture of noise, WIDTH x HEIGHT."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def make_corners() -> Image.Image:
    """A black picture with its top left quarter red, top right green, bottom left blue, bottom right white."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    top, left = slice(0, HEIGHT // 2), slice(0, WIDTH // 2)
    bottom, right = slice(HEIGHT // 2, None), slice(WIDTH // 2, None)
    pixels[top, left], pixels[top, right], pixels[bottom, left], pixels[bottom, right] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


def encode(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def planes(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).transpose(2, 0, 1)


@pytest.fixture
def read_one(write_pictures: Write) -> ReadOne:
    def read_one(root: Path, name: str, content: bytes) -> np.ndarray:
        """Read a set whose only training image of class `a` is a file with this content; returns that image."""
        write_pictures(root, "train/b/1.png", "test/b/1.png")
        write_pictures(root, f"train/a/{name}", content=content)
        return read_source(root).train.images[0]

    return read_one


@pytest.mark.parametrize("name", ["1.png", "1.PNG", "1.Png", "photo.of.a.cat.png"])
def test_a_png_is_read_whatever_the_case_of_its_suffix(tmp_path: Path, read_one: ReadOne, name: str) -> None:
    np.testing.assert_array_equal(read_one(tmp_path, name, encode(make_picture(9))), planes(make_picture(9)))


@pytest.mark.parametrize("name", ["1.jpg", "1.jpeg", "1.JPG", "1.JpEg"])
def test_a_jpeg_is_read_whatever_the_case_of_its_suffix(tmp_path: Path, read_one: ReadOne, name: str) -> None:
    read = read_one(tmp_path, name, encode(Image.new("RGB", (WIDTH, HEIGHT), (200, 100, 50)), "JPEG", quality=95))
    np.testing.assert_allclose(read.reshape(3, -1), np.array([[200], [100], [50]]) * np.ones(WIDTH * HEIGHT), atol=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_known_pixels_come_out_upright_in_red_green_blue_planes(tmp_path: Path, read_one: ReadOne, kind: str) -> None:
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    red, green, blue = read_one(tmp_path, "1.png", encode(make_corners(), kind, **options)).astype(int)
    for (y, x), colour in {(0, 0): RED, (0, -1): GREEN, (-1, 0): BLUE, (-1, -1): WHITE}.items():
        assert (red[y, x], green[y, x], blue[y, x]) == pytest.approx(colour, abs=45 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_that_was_stored_turned_is_read_upright(
    tmp_path: Path, read_one: ReadOne, orientation: int, stored: Image.Transpose | None, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = make_corners() if stored is None else make_corners().transpose(stored)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    read = read_one(tmp_path, "1.png", encode(picture, kind, exif=exif, **options)).astype(int)
    for (y, x), colour in {(0, 0): RED, (0, -1): GREEN, (-1, 0): BLUE, (-1, -1): WHITE}.items():
        assert tuple(read[:, y, x]) == pytest.approx(colour, abs=45 if kind == "JPEG" else 0)


def test_a_grey_picture_has_three_equal_planes(tmp_path: Path, read_one: ReadOne) -> None:
    grey = make_picture().convert("L")
    read = read_one(tmp_path, "1.png", encode(grey))
    np.testing.assert_array_equal(read, np.repeat(np.asarray(grey)[None], 3, axis=0))


def test_a_grey_picture_with_alpha_and_a_black_and_white_one_become_rgb(tmp_path: Path, read_one: ReadOne) -> None:
    grey = make_picture().convert("L")
    read = read_one(tmp_path / "LA", "1.png", encode(grey.convert("LA")))
    np.testing.assert_array_equal(read, np.repeat(np.asarray(grey)[None], 3, axis=0))
    bits = make_picture().convert("1")
    read = read_one(tmp_path / "1", "1.png", encode(bits))
    np.testing.assert_array_equal(read, np.repeat(np.asarray(bits)[None] * 255, 3, axis=0))


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_a_picture_with_alpha_lies_on_white(tmp_path: Path, read_one: ReadOne, alpha: int) -> None:
    picture = make_picture()
    picture.putalpha(alpha)
    wanted = 255 + (planes(make_picture()).astype(int) - 255) * alpha / 255
    assert np.abs(read_one(tmp_path, "1.png", encode(picture)) - wanted).max() <= 1


@pytest.mark.parametrize("transparent", [None, 1], ids=["opaque", "one colour transparent"])
def test_a_palette_picture_becomes_its_colours_and_not_its_indices(
    tmp_path: Path, read_one: ReadOne, transparent: int | None
) -> None:
    picture = make_corners().quantize(4)
    assert picture.mode == "P"
    options = {} if transparent is None else {"transparency": transparent}
    wanted = planes(picture.convert("RGB")).copy()
    if transparent is not None:
        wanted[:, np.asarray(picture) == transparent] = 255
    np.testing.assert_array_equal(read_one(tmp_path, "1.png", encode(picture, **options)), wanted)


def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path, read_one: ReadOne) -> None:
    picture = Image.new("RGB", (WIDTH, HEIGHT), (200, 100, 50)).convert("CMYK")
    read = read_one(tmp_path, "1.jpg", encode(picture, "JPEG", quality=100))
    np.testing.assert_allclose(read[:, 4, 3], (200, 100, 50), atol=4)


def test_palette_with_transparency_bytes(tmp_path: Path, write_pictures: Write) -> None:
    content = encode(make_picture().quantize(8), transparency=bytes([0, 255, 3]))
    assert (
        len(read_source(write_pictures(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", content=content)).train)
        == 2
    )


def test_jpeg_with_bad_exif(tmp_path: Path, write_pictures: Write) -> None:
    content = encode(make_picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03\xff\xff")
    assert (
        len(read_source(write_pictures(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", content=content)).train)
        == 2
    )


def test_pictures_of_many_kinds_in_one_class_become_one_array(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX)
    write_pictures(tmp_path, "train/cat/grey.png", content=encode(make_picture().convert("L")))
    write_pictures(tmp_path, "train/cat/alpha.png", content=encode(make_picture().convert("RGBA")))
    write_pictures(tmp_path, "train/cat/photo.jpg", content=encode(make_picture(), "JPEG"))
    assert read_source(tmp_path).train.images.shape == (7, 3, HEIGHT, WIDTH)


GOOD = encode(make_picture())


BROKEN = {
    "empty": b"",
    "text": b"not a picture\n",
    "a PNG cut in its pixels": GOOD[: len(GOOD) // 2],
    "a PNG cut in its header": GOOD[:20],
    "a PNG with a wrong pixel checksum": GOOD[:80] + bytes([GOOD[80] ^ 1]) + GOOD[81:],
    "a JPEG cut short": encode(make_picture(), "JPEG")[:-30],
    "the first bytes of a JPEG": b"\xff\xd8\xff\xe0",
    "a TIFF of floats": encode(make_picture().convert("F"), "TIFF"),
    "a Targa": encode(make_picture(), "TGA"),
}


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_picture_that_does_not_decode_is_named(tmp_path: Path, write_pictures: Write, case: str, part: str) -> None:
    write_pictures(tmp_path, *SIX)
    write_pictures(tmp_path, f"{part}/cat/bad.png", content=BROKEN[case])
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / part / 'cat' / 'bad.png'}: ")) as caught:
        read_source(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [8_000, 12_000, 40_000])
def test_a_picture_that_claims_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, write_pictures: Write, side: int
) -> None:
    size = struct.pack(">II", side, side) + GOOD[24:29]
    bomb = GOOD[:16] + size + struct.pack(">I", zlib.crc32(b"IHDR" + size)) + GOOD[33:]
    write_pictures(tmp_path, *SIX)
    write_pictures(tmp_path, "train/cat/bomb.png", content=bomb)
    with pytest.raises(DataError, match=r"bomb\.png: .*pixels exceed the limit of 50,000,000"):
        read_source(tmp_path)


def test_pictures_of_several_sizes_become_one(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX)
    write_pictures(tmp_path, "train/cat/odd.png", content=encode(Image.new("RGB", (100, 60), RED)))
    write_pictures(tmp_path, "test/dog/odd.png", content=encode(Image.new("RGB", (10, 60), BLUE)))
    read = read_source(tmp_path)
    assert read.image_shape == (3, 32, 32)
    assert read.notes[0] == "pictures of 6x8 to 100x60 pixels were stretched to 32x32 (see --image-size and --fit)"
    assert (read.train.images[2] == np.array(RED)[:, None, None]).all()
    padded = read_source(tmp_path, size=(8, 16), geometry=Geometry("pad", GREEN))
    assert padded.image_shape == (3, 8, 16)
    assert padded.geometry == Geometry("pad", GREEN)
    assert (padded.train.images[0][:, :, 0] == np.array(GREEN)[:, None]).all()
    assert padded.fingerprint != read.fingerprint == read_source(tmp_path, size=(32, 32)).fingerprint


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([(8, 6)] * 3, (8, 6)),
        ([(256, 192)] * 3, (256, 192)),
        ([(3000, 4000)] * 3, (64, 64)),
        ([(28, 28), (30, 41)], (32, 32)),
        ([(20, 20), (100, 100), (120, 90)], (64, 64)),
        ([], None),
    ],
)
def test_the_size_that_is_usual(sizes: list[tuple[int, int]], wanted: tuple[int, int] | None) -> None:
    assert usual_size(sizes) == wanted


def test_a_picture_that_differs_from_the_sample_is_scaled_to_its_size(tmp_path: Path, write_pictures: Write) -> None:
    """Of more than 200 pictures some are looked at."""
    write_pictures(tmp_path, *(f"{name}/{i}.png" for name in "ab" for i in range(150)))
    write_pictures(tmp_path, "a/10.png", content=encode(Image.new("RGB", (100, 60), RED)))  # the third
    read = read_source(tmp_path)
    assert read.image_shape == (3, HEIGHT, WIDTH)
    assert read.notes[0].startswith("pictures of 6x8 to 100x60 pixels were stretched to 6x8")


def test_arrays_are_scaled_if_a_size_is_asked_for(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 9, 12), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(8) % 2)
    assert read_source(tmp_path / "x.npz").image_shape == (3, 9, 12)
    scaled = read_source(tmp_path / "x.npz", size=(6, 8))
    assert scaled.image_shape == (3, 6, 8)
    whole = np.concatenate([scaled.train.images, scaled.test.images])
    wanted = Image.fromarray(images[0].transpose(1, 2, 0)).resize((8, 6), Image.Resampling.BILINEAR)
    assert any(np.array_equal(image, planes(wanted)) for image in whole)
    np.savez(tmp_path / "x.npz", images=images.astype(np.float32) / 255, labels=np.arange(8) % 2)
    with pytest.raises(
        DataError, match=r"x\.npz: float32 images of 3 channels are not scaled to 8x6: uint8 of 1 or 3 are"
    ):
        read_source(tmp_path / "x.npz", size=(6, 8))


def test_a_moving_picture_is_its_first_and_that_is_said(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX)
    first, second = make_corners(), Image.new("RGB", (WIDTH, HEIGHT))
    moving = encode(first, "PNG", save_all=True, append_images=[second])
    write_pictures(tmp_path, "train/cat/1.png", "train/dog/1.png", content=moving)
    read = read_source(tmp_path)
    np.testing.assert_array_equal(read.train.images[0], planes(first))
    assert read.notes[:1] == (f"{tmp_path}/train/cat/1.png: contains several pictures; the first is used, and 1 more",)
