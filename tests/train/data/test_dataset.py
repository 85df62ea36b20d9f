"""Parts become a Dataset: shapes, classes and names."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest
from small_arrays import COUNT, SHAPE, make_floats, make_images, make_labels

from clf_train.data.assembly import assemble
from clf_train.data.dataset import Part, Parts
from clf_train.errors import DataError

Make = Callable[..., Parts]


def test_a_dataset_says_where_it_is_from_and_what_it_is(good_parts: Make) -> None:
    made = assemble("somewhere", good_parts(names=("a", "b", "c")))
    assert (made.source, made.layout, made.names) == ("somewhere", "layout", ("a", "b", "c"))
    assert (made.image_shape, made.dtype) == (SHAPE, "uint8")
    assert (len(made.train), len(made.test)) == (COUNT, 6)
    assert made.notes == ()


def test_images_that_need_no_conversion_are_not_copied(good_parts: Make) -> None:
    for images in (make_images(), make_floats(), np.ascontiguousarray(make_images().transpose(0, 2, 3, 1))):
        assert np.shares_memory(assemble("s", good_parts(images)).train.images, images)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_the_channels_are_found_first_or_last(good_parts: Make, channels: int, first: bool) -> None:
    images = make_images(shape=(channels, 8, 6))
    made = assemble("s", good_parts(images if first else images.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(made.train.images, images)


@pytest.mark.parametrize("shape", [(3, 5, 4), (4, 40, 3), (3, 40, 3), (1, 5, 3)], ids=str)
def test_where_both_axes_could_be_channels_the_first_is_taken_and_it_is_said(
    good_parts: Make, shape: tuple[int, int, int]
) -> None:
    images = make_images(shape=shape)
    made = assemble("s", good_parts(images))
    np.testing.assert_array_equal(made.train.images, images)
    [note] = made.notes
    written = "x".join(map(str, images.shape))
    assert note.startswith(f"images of shape {written} are read as {shape[0]} channel")
    assert note.endswith("the channels last, pass images.transpose(0, 3, 1, 2)")
    other = assemble("s", good_parts(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))  # as the note advises
    assert (other.image_shape, other.notes) == ((shape[2], *shape[:2]), ())


@pytest.mark.parametrize("shape", [(), (8,), (3, 8, 6, 1), (5, 8, 6), (8, 6, 2), (0, 8, 6), (3, 0, 6)], ids=str)
def test_images_of_any_other_shape_are_refused(good_parts: Make, shape: tuple[int, ...]) -> None:
    images = np.zeros((COUNT, *shape), np.uint8)
    written = "x".join(str(n) for n in images.shape)
    with pytest.raises(DataError, match=f"TRAIN: images of shape {written}"):
        assemble("s", good_parts(images, make_labels()))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, -2] * 4), "label 2 is -2; labels are 0 to n-1"),
        (np.array([0, 1, 1.5] * 4), "label 2 is 1.5, not an integer"),
        (np.array([0, 1, np.nan] * 4), "label 2 is nan, not an integer"),
        (np.array([0, 1, -np.inf] * 4), "label 2 is -inf, not an integer"),
        (np.array([0, 1, 2**63] * 4, np.uint64), "label 2 is 9223372036854775808, not an integer"),
        (np.array([0, 1, 3] * 4), "class 2 (2) has no training images"),
        (np.array([1, 2, 3] * 4), "class 0 (0) has no training images"),
        (np.zeros(COUNT, int), "all images are of one class"),
        (np.array([0, 1, 13] * 4), "a label is 13, but there are only 12 images"),
        (np.array([0, 1, 2**62] * 4), "a label is 4,611,686,018,427,387,904, but there are only 12 images"),
        (np.array(["0", "1", "2"] * 4), "labels of dtype <U1; expected integers"),
        (np.array([0, 1, None] * 4), "labels of dtype object; expected integers"),
        (np.array([0j, 1, 2] * 4), "labels of dtype complex128; expected integers"),
        (
            np.zeros((COUNT, 2), int),
            "labels of shape 12x2, but row 0 is not one-hot; expected one number",
        ),
        (np.zeros((COUNT, 1, 1), int), "labels of shape 12x1x1; expected one number per image"),
        (np.zeros(11, int), "12 images, but 11 labels"),
        (np.zeros(0, int), "12 images, but 0 labels"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_labels_that_are_not_0_to_n_are_refused(good_parts: Make, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"TRAIN: {message}")):
        assemble("s", good_parts(labels=labels))


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i4", ">i8", "f2", "f4", ">f8"])
def test_labels_become_native_int64(good_parts: Make, dtype: str) -> None:
    labels = assemble("s", good_parts(labels=make_labels().astype(dtype))).train.labels
    assert labels.dtype == np.dtype(np.int64)
    assert labels.dtype.isnative
    np.testing.assert_array_equal(labels, make_labels())


def test_a_test_label_without_training_images_is_named_with_its_place(good_parts: Make) -> None:
    with pytest.raises(DataError, match="TEST: label 4 is 7, a class without training images"):
        assemble("s", good_parts(test=(make_images(6), np.array([0, 1, 2, 0, 7, 3]))))


def test_classes_that_the_test_part_lacks_are_noted_by_name(good_parts: Make) -> None:
    made = assemble("s", good_parts(test=(make_images(2), np.array([1, 1])), names=("a", "b", "c")))
    assert made.notes == ("the test part has no images of a, c",)


def test_given_names_go_before_those_of_the_source(good_parts: Make) -> None:
    made = assemble("s", good_parts(names=("a", "b", "c")), names=("x", "y", "z"))
    assert made.names == ("x", "y", "z")


@pytest.mark.parametrize("source_names", [None, ("a", "b", "c")], ids=["source without names", "source with names"])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("x", "y"), "labels go up to 2, but there are 2 class names"),
        (("w", "x", "y", "z"), "class 3 (z) has no training images"),
    ],
    ids=["too few", "too many"],
)
def test_a_wrong_number_of_names_is_refused(
    good_parts: Make, source_names: tuple[str, ...] | None, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        assemble("s", good_parts(names=source_names), names=names)


@pytest.mark.parametrize(
    ("test_images", "message"),
    [
        (make_images(6)[:, :, :7], "TEST: images of uint8 3x7x6, but TRAIN has uint8 3x8x6"),
        (make_images(6)[:, :1], "TEST: images of uint8 1x8x6, but TRAIN has uint8 3x8x6"),
        (make_floats(6), "TEST: images of float32 3x8x6, but TRAIN has uint8 3x8x6"),
        (make_images(6).reshape(6, -1), "TEST: images of shape 6x144"),
        (make_images(5), "TEST: 5 images, but 6 labels"),
    ],
    ids=["size", "channels", "dtype", "rank", "count"],
)
def test_a_test_part_that_does_not_fit_the_training_part_is_refused(
    good_parts: Make, test_images: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        assemble("s", good_parts(test=(test_images, make_labels(6))))


def test_labels_without_axis(good_parts: Make) -> None:
    with pytest.raises(DataError, match="labels of shape"):
        assemble("s", good_parts(labels=np.array(3)))


def test_each_training_image_has_its_place_when_others_are_held_out(good_parts: Callable[..., Parts]) -> None:
    parts = dataclasses.replace(good_parts(), test=None)
    named = dataclasses.replace(parts, train=dataclasses.replace(parts.train, place="{}.png".format))
    divided, undivided = assemble("s", named), assemble("s", named, undivided=True)
    for dataset in (divided, undivided):
        for i, image in enumerate(dataset.train.images):
            number = int(dataset.place(i).removesuffix(".png"))
            np.testing.assert_array_equal(image, named.train.images[number])
    assert (divided.has_test, undivided.has_test, len(undivided.train)) == (True, False, 12)
    assert undivided.test is undivided.train
    assert not [doubt for doubt in undivided.doubts if "test image" in doubt]


def test_undivided_a_validation_part_joins_the_training_images(good_parts: Callable[..., Parts]) -> None:
    held = dataclasses.replace(good_parts(), validation=Part(make_images(3, seed=5), np.arange(3), "VAL"))
    dataset = assemble("s", held, undivided=True)
    assert (len(dataset.train), dataset.validation_images, dataset.has_test) == (15, None, True)
    assert (dataset.place(11), dataset.place(12)) == ("TRAIN[11]", "VAL[0]")
