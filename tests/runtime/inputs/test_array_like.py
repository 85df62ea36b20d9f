"""What callers give for an image: what is known to be meant is converted, all else is one line."""

import io

import numpy as np
import pytest
from PIL import Image

from clf_runtime import Classifier, ImageError, ModelCard, ModelError, answer_files
from clf_runtime.inputs.array_like import as_array
from clf_runtime.inputs.arrays import to_batch

CARD = ModelCard("m", ("red", "green", "blue"), (3, 8, 8), "uint8", (0.0, 255.0))
RED = np.zeros((3, 8, 8), np.uint8)
RED[0] = 200
MASKED = np.ma.masked_array(RED, RED > 0)


class Gives:
    """Like a netCDF variable or a tensor on a device: what `__array__` does is its own affair."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.array, Exception):
            raise self.array
        return self.array


class Odd(np.ndarray):
    def __array_ufunc__(self, *arguments, **options):
        raise NotImplementedError


@pytest.mark.parametrize(
    "image",
    [
        np.ma.masked_array(RED),
        np.ma.masked_array(RED, np.zeros_like(RED, bool)),
        RED.view(Odd),
        Gives(RED),
        memoryview(RED),
        RED.tolist(),
        list(RED),
        RED.astype(">i4"),
        (RED / 255).astype(np.longdouble),
        (RED / 255).astype(np.float16),
        RED[:, ::-1, ::-1],
        np.asfortranarray(RED),
        Image.fromarray(RED.transpose(1, 2, 0)),
    ],
    ids=lambda image: type(image).__name__,
)
def test_what_holds_the_same_numbers_is_the_same_image(image):
    np.testing.assert_array_equal(to_batch(image, CARD), RED[None])


@pytest.mark.parametrize(
    "image",
    [
        MASKED,
        list(MASKED),
        [list(channel) for channel in MASKED],
        [[[np.ma.masked] * 8] * 8] * 3,
        Gives(MASKED),
        np.ma.masked_invalid(np.where(RED > 0, np.nan, 0.5)),
    ],
)
def test_masked_values_are_refused_with_how_to_fill_them(tiny_file, image):
    classifier = Classifier.load(tiny_file)
    with pytest.raises(ImageError, match=r"^image: [\d,]+ of [\d,]+ values are masked.*image\.filled\(0\)$"):
        classifier.predict(image)
    with pytest.raises(ImageError, match=r"^images\[1\]: .* values are masked"):
        classifier.predict_batch([RED, image])


def test_a_masked_batch_is_refused_wherever_it_is_given(tiny_file):
    classifier = Classifier.load(tiny_file)
    for call in (classifier.predict_batch, classifier.probabilities):
        with pytest.raises(ImageError, match="64 of 192 values are masked"):
            call(MASKED[None])


ENDLESS: list = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (b"\x89PNG", "a value of type bytes; expected a path, an array"),
        (bytearray(192), "a value of type bytearray; expected"),
        (io.BytesIO(b"x"), "a value of type BytesIO; expected"),
        (None, "image: None; expected"),
        ({"a": RED}, "a value of type dict; expected"),
        (["a.npy", "b.npy"], "a list with a value of type str in it"),
        ([Image.new("RGB", (8, 8))], "a list with a value of type Image in it"),
        ([[1], [1, 2]], "cannot convert a value of type list to an array"),
        (ENDLESS, "lists nested more than 8 deep"),
        (
            Gives(RuntimeError("on a device\nsee there")),
            "cannot convert a value of type Gives to an array: on a device see",
        ),
        (RED.astype(object), "dtype object"),
        (np.zeros((3, 8, 8), [(f"field{i}", "f4") for i in range(99)]), "dtype"),
        (np.ma.zeros((3, 8, 8), [("a", "u1")]), "dtype"),
        (RED > 0, "dtype bool"),
        (RED.astype(complex), "dtype complex128"),
        (RED.astype("M8[s]"), "dtype datetime64"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_image_is_one_line_that_says_so(tiny_file, image, says):
    with pytest.raises(ImageError) as error:
        Classifier.load(tiny_file).predict(image)
    assert says in str(error.value)
    assert " at 0x" not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("images", [None, 3, b"abc", io.BytesIO(b"abc"), {"a": RED}, Image.new("RGB", (8, 8))])
def test_what_is_no_batch_is_one_line_that_says_so(tiny_file, images):
    with pytest.raises(ImageError, match=r"^images: .*; expected an array or several images$"):
        Classifier.load(tiny_file).predict_batch(images)


@pytest.mark.parametrize("path", [None, 3, b"x.npy", io.BytesIO(b"x"), RED, "", ["x.npy"]])
def test_what_is_no_path_is_one_line_that_says_so(tiny_file, path):
    classifier = Classifier.load(tiny_file)
    with pytest.raises(ImageError, match=r"^expected the path of a file, as str, not "):
        next(classifier.predict_file(path))
    [answer] = answer_files(classifier, [path])
    assert str(answer.error).startswith("expected the path of a file, as str, not ")
    if path is not None:
        with pytest.raises(ModelError, match=r"^expected the path of a file, as str, not "):
            Classifier.load(path)
    with pytest.raises(ModelError, match=r"^m: expected the bytes of a model, not (a value of type|None)|not an"):
        Classifier(path, "m")


def test_a_single_path_is_no_sequence_of_letters(tiny_file, tmp_path):
    np.save(tmp_path / "x.npy", RED)
    for path in (tmp_path / "x.npy", str(tmp_path / "x.npy")):
        [answer] = answer_files(Classifier.load(tiny_file), path)
        assert (answer.image, answer.prediction.name) == (str(path), "red")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "CMYK"])
def test_a_picture_in_memory_is_taken_as_its_file_is(tiny_file, tmp_path, mode):
    """numpy would take a palette's numbers for grey, and a picture as the camera held it."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.fromarray(pixels).convert(mode).save(file, exif=exif)
    classifier, grey = Classifier.load(tiny_file), ModelCard("m", ("a", "b"), (1, 10, 12), "uint8", (0.0, 255.0))
    with Image.open(file) as picture:
        size, mode = picture.size, picture.mode
        assert classifier.predict(picture) == classifier.predict(file)
        assert classifier.predict_batch([picture])[0] == classifier.predict(file)
        assert to_batch(picture, grey).shape == (1, 1, 10, 12)
        assert (picture.size, picture.mode) == (size, mode)


def test_a_plain_array_is_itself():
    assert as_array(RED, "x") is RED
