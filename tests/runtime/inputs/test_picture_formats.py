"""A picture format is one line of a table: here BMP is added, and files and folders of it are read."""

import io
import subprocess
import sys

import numpy as np
import pytest

from clf_runtime import Classifier
from clf_runtime.inputs import picture_formats
from clf_runtime.inputs.picture_formats import FORMATS, JPEG, PNG, PictureFormat, format_of, image_file
from clf_runtime.inputs.pictures import decode_picture

Image = pytest.importorskip("PIL.Image")


def encoded(kind):
    data = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), (200, 0, 0), np.uint8)).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize("known", FORMATS)
def test_each_format_is_told_by_its_first_bytes_and_decoded_by_its_plugin(known):
    data = encoded(known.name)
    assert format_of(data[:8]) is known
    assert image_file(known)(io.BytesIO(data)).size == (8, 8)


def test_what_is_none_of_them_has_no_format():
    assert format_of(b"") is None
    assert format_of(encoded("BMP")) is None
    assert (PNG.name, JPEG.name, picture_formats.NAMES) == ("PNG", "JPEG", "PNG and JPEG")


def test_a_line_adds_a_format(tiny_file, tmp_path, monkeypatch):
    (tmp_path / "red.bmp").write_bytes(encoded("BMP"))
    monkeypatch.setattr(picture_formats, "FORMATS", (*FORMATS, PictureFormat("Bmp", b"BM", (".bmp",))))
    assert Classifier.load(tiny_file).predict(tmp_path / "red.bmp").name == "red"


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
