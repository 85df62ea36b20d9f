"""Class-named folders of pictures: which folders are which part, and what a picture becomes."""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clf_train.errors import DataError
from clf_train.sources import folders, read_source

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


def write(root: Path, *names: str, content: bytes | None = None) -> Path:
    """Write pictures, each of another noise, under `root`; or `content` under each name."""
    for seed, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(make_picture(seed)) if content is None else content)
    return root


def planes(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).transpose(2, 0, 1)


def read_one(root: Path, name: str, content: bytes) -> np.ndarray:
    """Read a set whose only training image of class `a` is a file with this content; returns that image."""
    write(root, "train/b/1.png", "test/b/1.png")
    write(root, f"train/a/{name}", content=content)
    return read_source(root).train.images[0]


def test_train_and_test_folders_become_the_parts_with_the_classes_in_sorted_order(tmp_path: Path) -> None:
    write(tmp_path, "train/dog/2.png", "train/dog/10.png", "train/cat/x.png", "test/dog/1.png", "test/cat/1.png")
    assert folders.recognises(tmp_path)
    read = read_source(tmp_path)
    assert read.layout == "class-named folders"
    assert read.names == ("cat", "dog")
    assert read.train.labels.tolist() == [0, 1, 1]
    assert read.test.labels.tolist() == [0, 1]
    assert read.train.images.dtype == np.uint8
    assert read.image_shape == (3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(read.train.images[0], planes(make_picture(2)))  # train/cat/x.png
    np.testing.assert_array_equal(read.train.images[1], planes(make_picture(1)))  # train/dog/10.png, before 2.png
    np.testing.assert_array_equal(read.train.images[2], planes(make_picture(0)))
    np.testing.assert_array_equal(read.test.images[1], planes(make_picture(3)))
    assert read.notes == ()


def test_train_alone_has_a_part_held_out(tmp_path: Path) -> None:
    write(tmp_path, *(f"train/{name}/{i}.png" for name in ("cat", "dog") for i in range(5)))
    read = read_source(tmp_path)
    assert np.bincount(read.train.labels).tolist() == [4, 4]
    assert np.bincount(read.test.labels).tolist() == [1, 1]
    assert "2 of 10 images are held out" in read.notes[0]


def test_class_folders_alone_have_a_part_held_out(tmp_path: Path) -> None:
    write(tmp_path, *(f"{name}/{i}.png" for name in ("cat", "dog", "owl") for i in range(5)))
    read = read_source(tmp_path)
    assert read.names == ("cat", "dog", "owl")
    assert (len(read.train), len(read.test)) == (12, 3)
    assert "3 of 15 images are held out" in read.notes[0]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_stands_in_for_test(tmp_path: Path, name: str) -> None:
    write(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{name}/dog/1.png")
    read = read_source(tmp_path)
    assert read.test.labels.tolist() == [1]
    np.testing.assert_array_equal(read.test.images[0], planes(make_picture(2)))
    assert read.notes == ("the test part has no image of cat",)


@pytest.mark.parametrize("other", ["val", "valid", "validation"])
def test_both_a_test_and_a_validation_folder_are_refused(tmp_path: Path, other: str) -> None:
    write(tmp_path, *SIX, f"{other}/cat/1.png")
    with pytest.raises(DataError, match=rf"both test/ and {other}/; keep one"):
        read_source(tmp_path)


@pytest.mark.parametrize("name", ["1.png", "1.PNG", "1.Png", "photo.of.a.cat.png"])
def test_a_png_is_read_whatever_the_case_of_its_suffix(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(read_one(tmp_path, name, encode(make_picture(9))), planes(make_picture(9)))


@pytest.mark.parametrize("name", ["1.jpg", "1.jpeg", "1.JPG", "1.JpEg"])
def test_a_jpeg_is_read_whatever_the_case_of_its_suffix(tmp_path: Path, name: str) -> None:
    read = read_one(tmp_path, name, encode(Image.new("RGB", (WIDTH, HEIGHT), (200, 100, 50)), "JPEG", quality=95))
    np.testing.assert_allclose(read.reshape(3, -1), np.array([[200], [100], [50]]) * np.ones(WIDTH * HEIGHT), atol=3)


def test_a_folder_whose_pictures_are_all_of_one_kind_and_upper_case_is_recognised(tmp_path: Path) -> None:
    write(tmp_path, *(f"{name}/{i}.JPG" for name in ("cat", "dog") for i in range(2)), content=encode(make_picture()))
    assert folders.recognises(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_known_pixels_come_out_upright_in_red_green_blue_planes(tmp_path: Path, kind: str) -> None:
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
    tmp_path: Path, orientation: int, stored: Image.Transpose | None, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = make_corners() if stored is None else make_corners().transpose(stored)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    read = read_one(tmp_path, "1.png", encode(picture, kind, exif=exif, **options)).astype(int)
    for (y, x), colour in {(0, 0): RED, (0, -1): GREEN, (-1, 0): BLUE, (-1, -1): WHITE}.items():
        assert tuple(read[:, y, x]) == pytest.approx(colour, abs=45 if kind == "JPEG" else 0)


def test_a_grey_picture_has_three_equal_planes(tmp_path: Path) -> None:
    grey = make_picture().convert("L")
    read = read_one(tmp_path, "1.png", encode(grey))
    np.testing.assert_array_equal(read, np.repeat(np.asarray(grey)[None], 3, axis=0))


def test_a_grey_picture_with_alpha_and_a_black_and_white_one_become_rgb(tmp_path: Path) -> None:
    grey = make_picture().convert("L")
    read = read_one(tmp_path / "LA", "1.png", encode(grey.convert("LA")))
    np.testing.assert_array_equal(read, np.repeat(np.asarray(grey)[None], 3, axis=0))
    bits = make_picture().convert("1")
    read = read_one(tmp_path / "1", "1.png", encode(bits))
    np.testing.assert_array_equal(read, np.repeat(np.asarray(bits)[None] * 255, 3, axis=0))


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_a_picture_with_alpha_keeps_its_colours(tmp_path: Path, alpha: int) -> None:
    picture = make_picture()
    picture.putalpha(alpha)
    assert picture.mode == "RGBA"
    np.testing.assert_array_equal(read_one(tmp_path, "1.png", encode(picture)), planes(make_picture()))


@pytest.mark.parametrize("transparent", [None, 1], ids=["opaque", "one colour transparent"])
def test_a_palette_picture_becomes_its_colours_and_not_its_indices(tmp_path: Path, transparent: int | None) -> None:
    picture = make_corners().quantize(4)
    assert picture.mode == "P"
    options = {} if transparent is None else {"transparency": transparent}
    np.testing.assert_array_equal(
        read_one(tmp_path, "1.png", encode(picture, **options)), planes(picture.convert("RGB"))
    )


def test_a_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    picture = Image.new("RGB", (WIDTH, HEIGHT), (200, 100, 50)).convert("CMYK")
    read = read_one(tmp_path, "1.jpg", encode(picture, "JPEG", quality=100))
    np.testing.assert_allclose(read[:, 4, 3], (200, 100, 50), atol=4)


def test_pictures_of_many_kinds_in_one_class_become_one_array(tmp_path: Path) -> None:
    write(tmp_path, *SIX)
    write(tmp_path, "train/cat/grey.png", content=encode(make_picture().convert("L")))
    write(tmp_path, "train/cat/alpha.png", content=encode(make_picture().convert("RGBA")))
    write(tmp_path, "train/cat/photo.jpg", content=encode(make_picture(), "JPEG"))
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
    "a GIF": encode(make_picture().quantize(4), "GIF"),
    "a BMP": encode(make_picture(), "BMP"),
    "a PNG of 16 bits": encode(Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16))),
}


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_picture_that_does_not_decode_is_named(tmp_path: Path, case: str, part: str) -> None:
    write(tmp_path, *SIX)
    write(tmp_path, f"{part}/cat/bad.png", content=BROKEN[case])
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / part / 'cat' / 'bad.png'}: ")) as caught:
        read_source(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [8_000, 12_000, 40_000])
def test_a_picture_that_claims_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    size = struct.pack(">II", side, side) + GOOD[24:29]
    bomb = GOOD[:16] + size + struct.pack(">I", zlib.crc32(b"IHDR" + size)) + GOOD[33:]
    write(tmp_path, *SIX)
    write(tmp_path, "train/cat/bomb.png", content=bomb)
    with pytest.raises(DataError, match=r"bomb\.png: .*pixels; the most that is read is 50,000,000"):
        read_source(tmp_path)


@pytest.mark.parametrize("size", [(WIDTH + 1, HEIGHT), (WIDTH, HEIGHT - 1), (HEIGHT, WIDTH)])
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_picture_of_another_size_is_named_with_both_sizes(tmp_path: Path, part: str, size: tuple[int, int]) -> None:
    write(tmp_path, *SIX)
    write(tmp_path, f"{part}/cat/odd.png", content=encode(Image.new("RGB", size)))
    message = re.escape(f"{tmp_path / part / 'cat' / 'odd.png'}: {size[0]}x{size[1]} pixels where ")
    with pytest.raises(DataError, match=f"{message}.* has {WIDTH}x{HEIGHT}; scale all pictures"):
        read_source(tmp_path)


def test_test_pictures_that_are_all_of_another_size_are_held_against_the_training_ones(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/1.png", "train/dog/1.png")
    write(tmp_path, "test/cat/1.png", content=encode(Image.new("RGB", (9, 9))))
    with pytest.raises(DataError, match=rf"test/cat/1\.png: 9x9 pixels where training has {WIDTH}x{HEIGHT}"):
        read_source(tmp_path)


STRAY = {  # what is written: what is named
    "notes.txt": "notes.txt",
    "train/labels.csv": "train/labels.csv",
    "train/1.png": "train/1.png",
    "train/cat/notes.txt": "train/cat/notes.txt",
    "train/cat/1.gif": "train/cat/1.gif",
    "train/cat/no suffix": "train/cat/no suffix",
    "train/cat/more/1.png": "train/cat/more",
    "train/cat/more.png/1.png": "train/cat/more.png",
    "test/1.png": "test/1.png",
    "test/dog/clip.mp4": "test/dog/clip.mp4",
    "extra/cat/1.png": "extra",
}


@pytest.mark.parametrize("name", STRAY)
def test_a_stray_file_or_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, *SIX, name)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / STRAY[name]}: ") + ".*; move it away"):
        read_source(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "1.png", "cat/notes.txt"])
def test_a_stray_file_beside_class_folders_is_refused_by_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, *(f"{label}/{i}.png" for label in ("cat", "dog") for i in range(3)), name)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: ") + ".*; move it away"):
        read_source(tmp_path)


UNSEEN = (
    ".DS_Store",
    "train/.hidden",
    "train/cat/._1.png",
    "train/.cache/1.png",
    "train/cat/.thumb/1.png",
    "test/.x.png",
    "train/cat/Thumbs.db",
    "train/desktop.ini",
    "README.md",
    "LICENSE",
    "train/readme.txt",
    "test/cat/readme",
)


@pytest.mark.parametrize("name", UNSEEN)
def test_hidden_files_and_those_that_describe_the_data_are_ignored(tmp_path: Path, name: str) -> None:
    write(tmp_path, *SIX)
    write(tmp_path, name, content=b"no picture")
    read = read_source(tmp_path)
    assert (len(read.train), len(read.test)) == (4, 2)
    assert read.names == ("cat", "dog")


def test_an_empty_class_folder_is_named_as_a_class_without_training_images(tmp_path: Path) -> None:
    write(tmp_path, *SIX)
    (tmp_path / "train" / "cow").mkdir()
    with pytest.raises(DataError, match=r"train: class 1 \(cow\) has no training images"):
        read_source(tmp_path)


def test_an_empty_test_class_is_a_note(tmp_path: Path) -> None:
    write(tmp_path, *SIX)
    (tmp_path / "test" / "dog").mkdir()
    assert read_source(tmp_path).notes == ("the test part has no image of dog",)


@pytest.mark.parametrize("classes", [(), ("cat",), ("cat", "dog")], ids=["no class", "one class", "both classes"])
def test_a_test_folder_without_any_picture_is_refused(tmp_path: Path, classes: tuple[str, ...]) -> None:
    write(tmp_path, "train/cat/1.png", "train/dog/1.png")
    for folder in ("", *classes):
        (tmp_path / "test" / folder).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'test'}: no pictures")):
        read_source(tmp_path)


def test_training_folders_without_any_picture_are_no_known_layout(tmp_path: Path) -> None:
    write(tmp_path, "test/cat/1.png", "test/dog/1.png")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="no layout that is known"):
        read_source(tmp_path)


def test_a_test_class_that_was_not_trained_is_named(tmp_path: Path) -> None:
    write(tmp_path, *SIX, "test/owl/1.png")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'test' / 'owl'}: a class without training images")):
        read_source(tmp_path)


def test_the_case_of_a_class_name_counts(tmp_path: Path) -> None:
    write(tmp_path, *SIX, "test/Cat/1.png")
    with pytest.raises(DataError, match=r"test/Cat: a class without training images"):
        read_source(tmp_path)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    write(tmp_path, *(f"train/cat/{i}.png" for i in range(4)))
    with pytest.raises(DataError, match="all images are of one class"):
        read_source(tmp_path)


def test_class_names_of_any_script_and_with_blanks_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "train/été/1.png", "train/polar bear/1.png", "train/猫/1.png", "test/猫/1.png")
    assert read_source(tmp_path).names == ("polar bear", "été", "猫")


def test_linked_pictures_and_class_folders_are_read_like_others(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "cat/1.png", "one.png")
    write(tmp_path / "set", "train/dog/1.png", "test/dog/1.png")
    (tmp_path / "set/train/cat").symlink_to(tmp_path / "elsewhere/cat")
    (tmp_path / "set/train/dog/2.png").symlink_to(tmp_path / "elsewhere/one.png")
    read = read_source(tmp_path / "set")
    assert read.train.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(read.train.images[2], planes(make_picture(1)))


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    write(tmp_path, *SIX)
    (tmp_path / "train/cat/lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"train/cat/lost\.png: "):
        read_source(tmp_path)
