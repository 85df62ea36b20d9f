"""A picture format is one line of a table: here BMP is added, and files and folders of it are read."""

import io

import numpy as np
import pytest

from clf_runtime import Classifier
from clf_runtime.inputs import picture_formats
from clf_runtime.inputs.picture_formats import FORMATS, JPEG, PNG, PictureFormat, format_of, image_file

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
