"""Pictures of every format and kind of pixel give the pixels that were put in; a format is one line of a table."""

import io
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from clf_runtime import Classifier, ImageError, MissingExtraError
from clf_runtime.inputs import picture_formats
from clf_runtime.inputs.picture_formats import FORMATS, LOOK, NAMES, PictureFormat, format_of, image_file
from clf_runtime.inputs.pictures import decode_picture
from clf_runtime.model.geometry import Geometry

Image = pytest.importorskip("PIL.Image")

WRITTEN = [known for known in FORMATS if known.name != "HEIC"]
STEPS = np.arange(0, 256, 17, dtype=np.uint8)  # sixteen greys: exact in 8 and 16 bits and in a palette
GREY = np.tile(STEPS, (4, 1))
RED = np.full((8, 8, 3), (200, 0, 0), np.uint8)


def encoded(picture, kind, **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize("known", WRITTEN, ids=lambda known: known.name)
def test_each_format_is_told_by_its_first_bytes_and_decoded_by_its_plugin(known):
    options = {"quality": 100, "subsampling": 0} if known.name == "JPEG" else {}
    options |= {"lossless": True} if known.name == "WebP" else {}
    data = encoded(Image.fromarray(RED), known.name, **options)
    assert format_of(data[:LOOK]) is known
    assert image_file(known)(io.BytesIO(data)).size == (8, 8)
    assert np.abs(decode_picture(data, "x", 3).astype(int) - RED).max() <= 2 * (known.name == "JPEG")


@pytest.mark.parametrize("other", [b"", b"P7\n8 8", b"RIFF....WAVE", b"BMW/photo.png\n", b"P6/photo.png\n", b"PK\3\4"])
def test_what_is_none_of_them_has_no_format(other):
    assert format_of(other) is None
    with pytest.raises(ImageError, match=rf"^x: not a picture in a known format \({re.escape(NAMES)}\)$"):
        decode_picture(other, "x", 3)


def test_no_bytes_take_long_to_be_told():
    """A pattern with one repetition in another took 47 s for these 56 bytes, which the fuzzer found."""
    assert format_of(b"P4" + b"\t" * 4000 + b"\x01") is None


def test_a_comment_may_come_before_the_size():
    data = b"P5\n# Created by a program with a long name, version 2.10.30\n2 1\n255\n\x07\x09"
    assert decode_picture(data, "x", 1).ravel().tolist() == [7, 9]


def test_a_line_adds_a_format(tiny_file, tmp_path, monkeypatch):
    (tmp_path / "red.tga").write_bytes(encoded(Image.fromarray(RED), "TGA"))
    with pytest.raises(ImageError, match="nor a picture"):
        Classifier.load(tiny_file).predict(tmp_path / "red.tga")
    tga = PictureFormat("TGA", "PIL.TgaImagePlugin", "TgaImageFile", re.compile(rb"\x00\x00\x02"), (".tga",))
    monkeypatch.setattr(picture_formats, "FORMATS", (*FORMATS, tga))
    assert Classifier.load(tiny_file).predict(tmp_path / "red.tga").name == "red"


KINDS = [
    ("PNG", "1"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "P"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "I;16"),
    ("GIF", "P"), ("GIF", "L"), ("BMP", "1"), ("BMP", "P"), ("BMP", "RGB"), ("PPM", "1"), ("PPM", "L"), ("PPM", "RGB"),
    ("PPM", "I;16"), ("TIFF", "1"), ("TIFF", "L"), ("TIFF", "LA"), ("TIFF", "P"), ("TIFF", "RGB"), ("TIFF", "RGBA"),
    ("TIFF", "CMYK"), ("TIFF", "I;16"), ("TIFF", "I;16B"), ("WebP", "RGB"), ("WebP", "RGBA"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "mode"), KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_kind_of_pixel_is_read_exactly(kind, mode, channels):
    grey = GREY if mode != "1" else np.where(GREY > 127, 255, 0).astype(np.uint8)
    if mode.startswith("I;16"):
        picture = Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else ">u2") * 257)
    else:
        picture = Image.fromarray(grey).convert(mode, dither=Image.Dither.NONE)
    data = encoded(picture, kind, **({"lossless": True} if kind == "WebP" else {}))
    np.testing.assert_array_equal(decode_picture(data, "x", channels), np.repeat(grey[..., None], channels, -1))


def test_sixteen_bits_of_colour_lose_the_lower_eight():
    """Pillow writes none, so a PPM by hand: 65535, 32896 (128 · 257) and 255, which is less than one of 256 steps."""
    data = b"P6\n1 1\n65535\n" + bytes([0xFF, 0xFF, 0x80, 0x80, 0x00, 0xFF])
    assert decode_picture(data, "x", 3).tolist() == [[[255, 128, 1]]]  # PPM's plugin rounds, those of others cut off


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_known_range_are_refused(mode):
    with pytest.raises(ImageError, match=rf"^x: pixels of mode {mode} are not supported; save it with 8 bits"):
        decode_picture(encoded(Image.fromarray(GREY).convert(mode), "TIFF"), "x", 3)


@pytest.mark.parametrize("kind", ["GIF", "WebP", "PNG", "TIFF"])
def test_of_several_pictures_the_first_is_taken_and_said(kind):
    first, second = Image.fromarray(RED), Image.new("RGB", (8, 8), "blue")
    data = encoded(first, kind, save_all=True, append_images=[second], **({"lossless": True} if kind == "WebP" else {}))
    said = []
    np.testing.assert_array_equal(decode_picture(data, "x", 3, note=said.append), RED)
    assert said == ["x: contains several pictures; the first is used"]
    said.clear()
    decode_picture(encoded(first, kind), "x", 3, note=said.append)
    assert said == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_each_format_stands_upright_by_exif(kind, turned):
    from PIL import ImageOps

    halves = Image.new("L", (24, 16))
    halves.paste(255, (0, 0, 24, 8))
    halves.paste(120, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = turned
    data = encoded(halves.convert("RGB"), kind, exif=exif, **({"lossless": True} if kind == "WebP" else {}))
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    found = decode_picture(data, "x", 3)
    np.testing.assert_array_equal(found, wanted)
    assert found.shape == ((16, 24, 3) if turned < 5 else (24, 16, 3))


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("GIF", "P"), ("WebP", "RGBA"), ("TIFF", "RGBA")]
)
def test_what_is_transparent_lies_on_the_background(kind, mode):
    """A horse on nothing is a horse on white, not on the colours that nobody sees."""
    picture = Image.fromarray(RED)
    if mode == "P":
        picture = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
        options = {"transparency": picture.getpixel((0, 0))}
    else:
        picture, options = picture.convert(mode), {}
        picture.putalpha(0)
        options = {"lossless": True, "exact": True} if kind == "WebP" else {}
    data = encoded(picture, kind, **options)
    assert (decode_picture(data, "x", 3, None, Geometry()) == 255).all()
    assert (decode_picture(data, "x", 3, None, Geometry(background=(0, 10, 20))) == (0, 10, 20)).all()
    assert decode_picture(data, "x", 1, None, Geometry(background=(9, 9, 9))).ravel().tolist() == [9] * 64
    hidden = decode_picture(data, "x", 3)  # files of schema 2 are answered as they were
    assert (hidden != 255).any()


def test_heic_needs_its_plugin(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    with pytest.raises(MissingExtraError, match=r'^x: HEIC needs a plugin .*: pip install "clf-edge\[heic\]"$'):
        decode_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "x", 3)


def test_heic_is_read():
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: no HEIC")
    data = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(np.repeat(np.repeat(RED, 8, 0), 8, 1))).save(data, quality=100)
    assert format_of(data.getvalue()[:LOOK]).name == "HEIC"
    assert np.abs(decode_picture(data.getvalue(), "x", 3).astype(int) - (200, 0, 0)).max() <= 8


# A process that has decoded nothing yet: all of its threads begin with Pillow's plugins at once.
CHILD = """
import sys, threading
import numpy as np
from clf_runtime.inputs.pictures import decode_picture

def decode(name, mine):
    with open(name, "rb") as file:
        data = file.read()
    together.wait()
    for _ in range(50):
        mine.append(decode_picture(data, name, 3, (9, 11)))

sys.setswitchinterval(1e-6)
answers, *names = sys.argv[1:]
together, found = threading.Barrier(len(names)), [[] for _ in names]
threads = [threading.Thread(target=decode, args=pair) for pair in zip(names, found)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
np.save(answers, np.array(found))
"""
MIXED = (("PNG", "RGB"), ("JPEG", "RGB"), ("PNG", "P"), ("JPEG", "L"), ("PNG", "RGBA"), ("JPEG", "CMYK"))


def test_threads_decode_each_its_own_picture_from_the_first_on(tmp_path):
    random, names = np.random.default_rng(0), []
    for i, (kind, mode) in enumerate(MIXED):
        exif = Image.Exif()
        exif[0x0112] = 1 + i
        pixels = random.integers(0, 256, (20 + i, 30 - i, 3), np.uint8)
        names.append(tmp_path / f"{i}.{kind}")
        Image.fromarray(pixels).convert(mode).save(names[i], kind, exif=exif)
    command = [sys.executable, "-c", CHILD, tmp_path / "answers.npy", *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    alone = np.array([decode_picture(name.read_bytes(), "x", 3, (9, 11)) for name in names])
    assert len(np.unique(alone, axis=0)) == len(names)
    assert (np.load(tmp_path / "answers.npy") == alone[:, None]).all()


def test_what_pillow_warns_of_is_no_second_line_of_a_command(tiny_file, tmp_path):
    """A tag of a TIFF that claims more than the file has is left out, or the file refused, and Pillow warns of it."""
    damaged = encoded(Image.fromarray(RED), "TIFF", description="x" * 50)
    at = damaged.index(b"\x0e\x01\x02\x00")  # tag 270, text
    damaged = damaged[: at + 4] + b"\xff\xff\xff\x7f" + damaged[at + 8 :]  # as many characters
    (tmp_path / "x.tif").write_bytes(damaged)
    with pytest.warns(UserWarning, match="Tag data larger than file|Truncated File"), suppress(ImageError):
        decode_picture(damaged, "x", 3)  # Pillow before 12 does not go on
    command = [sys.executable, "-c", "from clf_runtime.commands.predict import main; main()"]
    done = subprocess.run([*command, tmp_path / "x.tif", "--model", tiny_file], capture_output=True, text=True)
    first, *others = done.stderr.splitlines()
    assert first == f"clf-predict: {Path(tiny_file).name} on CPUExecutionProvider"
    if done.returncode == 0:
        assert (done.stdout.split()[1], others) == ("red", [])
    else:
        assert (done.returncode, len(others), "cannot be" in others[0]) == (2, 1, True)
