"""Parts become a Dataset: shapes, classes, statistics, the fingerprint, and the part that is held out."""

import re
from typing import Any

import numpy as np
import pytest

from clf_train import dataset
from clf_train.dataset import Part, Parts, Split, assemble, split_off
from clf_train.errors import DataError

COUNT, CLASSES = 12, 3
SHAPE = (3, 8, 6)


def make_images(count: int = COUNT, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """uint8 [count, *shape]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def make_labels(count: int = COUNT) -> np.ndarray:
    return np.arange(count) % CLASSES


def make_floats(count: int = COUNT, seed: int = 0) -> np.ndarray:
    return make_images(count, seed).astype(np.float32) / 255


def parts(
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    names: tuple[str, ...] | None = None,
) -> Parts:
    """Good parts with changes; the test part is the first six training images, as a view, if none is given."""
    images = make_images() if images is None else images
    labels = make_labels(len(images)) if labels is None else labels
    test_images, test_labels = (images[:6], make_labels(6)) if test is None else test
    return Parts("layout", Part(images, labels, "TRAIN"), Part(test_images, test_labels, "TEST"), names)


def test_a_dataset_says_where_it_is_from_and_what_it_is() -> None:
    made = assemble("somewhere", parts(names=("a", "b", "c")))
    assert (made.source, made.layout, made.names) == ("somewhere", "layout", ("a", "b", "c"))
    assert (made.image_shape, made.dtype) == (SHAPE, "uint8")
    assert (len(made.train), len(made.test)) == (COUNT, 6)
    assert made.notes == ()


def test_images_that_need_no_conversion_are_not_copied() -> None:
    for images in (make_images(), make_floats(), np.ascontiguousarray(make_images().transpose(0, 2, 3, 1))):
        assert np.shares_memory(assemble("s", parts(images)).train.images, images)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("first", [True, False], ids=["channels first", "channels last"])
def test_the_channels_are_found_first_or_last(channels: int, first: bool) -> None:
    images = make_images(shape=(channels, 8, 6))
    made = assemble("s", parts(images if first else images.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(made.train.images, images)


def test_where_both_axes_could_be_channels_the_first_is_taken() -> None:
    images = make_images(shape=(3, 5, 4))
    np.testing.assert_array_equal(assemble("s", parts(images)).train.images, images)


@pytest.mark.parametrize("shape", [(), (8,), (3, 8, 6, 1), (5, 8, 6), (8, 6, 2), (0, 8, 6), (3, 0, 6)], ids=str)
def test_images_of_any_other_shape_are_refused(shape: tuple[int, ...]) -> None:
    images = np.zeros((COUNT, *shape), np.uint8)
    written = "x".join(str(n) for n in images.shape)
    with pytest.raises(DataError, match=f"TRAIN: images of shape {written}"):
        assemble("s", parts(images, make_labels()))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, -2] * 4), "label 2 is -2; labels are 0 to n-1"),
        (np.array([0, 1, 1.5] * 4), "label 2 is 1.5, not a whole number"),
        (np.array([0, 1, np.nan] * 4), "label 2 is nan, not a whole number"),
        (np.array([0, 1, -np.inf] * 4), "label 2 is -inf, not a whole number"),
        (np.array([0, 1, 2**63] * 4, np.uint64), "label 2 is 9223372036854775808, not a whole number"),
        (np.array([0, 1, 3] * 4), "class 2 (2) has no training images"),
        (np.array([1, 2, 3] * 4), "class 0 (0) has no training images"),
        (np.zeros(COUNT, int), "all images are of one class"),
        (np.array([0, 1, 13] * 4), "a label is 13 where there are 12 images"),
        (np.array([0, 1, 2**62] * 4), "a label is 4,611,686,018,427,387,904 where there are 12 images"),
        (np.array(["0", "1", "2"] * 4), "labels of dtype <U1; wanted: whole numbers"),
        (np.array([0, 1, None] * 4), "labels of dtype object; wanted: whole numbers"),
        (np.array([0j, 1, 2] * 4), "labels of dtype complex128; wanted: whole numbers"),
        (np.zeros((COUNT, 2), int), "labels of shape 12x2; wanted: one number an image"),
        (np.zeros((COUNT, 1, 1), int), "labels of shape 12x1x1; wanted: one number an image"),
        (np.zeros(11, int), "12 images, but 11 labels"),
        (np.zeros(0, int), "12 images, but 0 labels"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_labels_that_are_not_0_to_n_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"TRAIN: {message}")):
        assemble("s", parts(labels=labels))


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i4", ">i8", "f2", "f4", ">f8"])
def test_labels_become_native_int64(dtype: str) -> None:
    labels = assemble("s", parts(labels=make_labels().astype(dtype))).train.labels
    assert labels.dtype == np.dtype(np.int64)
    assert labels.dtype.isnative
    np.testing.assert_array_equal(labels, make_labels())


def test_a_test_label_without_training_images_is_named_with_its_place() -> None:
    with pytest.raises(DataError, match="TEST: label 4 is 7, a class without training images"):
        assemble("s", parts(test=(make_images(6), np.array([0, 1, 2, 0, 7, 3]))))


def test_classes_that_the_test_part_lacks_are_noted_by_name() -> None:
    made = assemble("s", parts(test=(make_images(2), np.array([1, 1])), names=("a", "b", "c")))
    assert made.notes == ("the test part has no image of a, c",)


def test_given_names_go_before_those_of_the_source() -> None:
    made = assemble("s", parts(names=("a", "b", "c")), names=("x", "y", "z"))
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
    source_names: tuple[str, ...] | None, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        assemble("s", parts(names=source_names), names=names)


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
def test_a_test_part_that_does_not_fit_the_training_part_is_refused(test_images: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        assemble("s", parts(test=(test_images, make_labels(6))))


# Statistics


def reference(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = images.astype(np.float64)
    return wide.mean(axis=(0, 2, 3)), wide.std(axis=(0, 2, 3))


STATISTICS: dict[str, np.ndarray] = {
    "uint8": make_images(50),
    "float32 in 0..1": make_floats(50),
    "float32 around 0": (np.random.default_rng(3).standard_normal((50, *SHAPE)) * [[[0.1]], [[1]], [[10]]]).astype(
        "f4"
    ),
    "float64": make_images(50) / 255,
    "strided": make_images(100)[::2, :, ::-1],
    "channels last": make_floats(50).transpose(0, 2, 3, 1),
    "one channel": make_floats(50)[:, :1],
    "black": np.zeros((50, *SHAPE), np.uint8),
    "white": np.full((50, *SHAPE), 255, np.uint8),
}


@pytest.mark.parametrize("chunk", [500, 16 << 20], ids=lambda n: f"{n} bytes a chunk")
@pytest.mark.parametrize("kind", STATISTICS)
def test_mean_and_std_are_those_of_numpy_in_float64(monkeypatch: pytest.MonkeyPatch, kind: str, chunk: int) -> None:
    monkeypatch.setattr(dataset, "_CHUNK_BYTES", chunk)
    made = assemble("s", parts(STATISTICS[kind]))
    mean, std = reference(made.train.images)
    np.testing.assert_allclose(made.mean, mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(made.std, std, rtol=1e-5, atol=1e-7)
    assert all(type(value) is float for value in (*made.mean, *made.std))


def test_the_test_part_has_no_say_in_mean_std_and_range() -> None:
    small = assemble("s", parts(make_floats()))
    large = assemble("s", parts(make_floats(), test=(make_floats(6) * 100, make_labels(6))))
    assert (small.mean, small.std, small.value_range) == (large.mean, large.std, large.value_range)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1, (0, 1)),
        (0.2, 0.7, (0, 1)),
        (0, 255, (0, 255)),
        (0, 1.01, (0, 255)),
        (3, 200, (0, 255)),
        (-1, 1, (-1, 1)),
        (-0.01, 0.5, (-1, 1)),
        (-1.5, 1, (-1.5, 1)),
        (-3, 300, (-3, 300)),
        (0, 256, (0, 256)),
        (-117.5, 138, (-117.5, 138)),
        (0, 0, (0, 1)),
        (1, 1, (0, 1)),
        (-7, -7, (-7, -6)),
    ],
)
def test_floats_have_the_first_usual_range_that_holds_them_else_their_span(
    low: float, high: float, wanted: tuple[float, float]
) -> None:
    images = np.full((COUNT, *SHAPE), low, np.float32)
    images[5, 1, 2, 3] = high
    assert assemble("s", parts(images)).value_range == wanted


@pytest.mark.parametrize("top", [1, 100, 255])
def test_uint8_has_the_range_of_a_byte_whatever_its_values(top: int) -> None:
    images = np.minimum(make_images(), top).astype(np.uint8)
    assert assemble("s", parts(images)).value_range == (0, 255)


@pytest.mark.parametrize(
    ("factor", "noted"), [(1, False), (0.5, False), (1.0005, False), (1.1, True), (255, True), (-1, True)]
)
def test_test_images_outside_the_training_range_are_noted(factor: float, noted: bool) -> None:
    images = make_floats()
    images[0, 0, 0, 0] = 1
    made = assemble("s", parts(images, test=(images[:6] * np.float32(factor), make_labels(6))))
    assert [("are both scaled alike?" in note) for note in made.notes] == [True] * noted


# NaN and infinity


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["TRAIN", "TEST"])
@pytest.mark.parametrize("index", [0, 3, 5])
def test_the_first_image_with_nan_or_infinity_is_named(value: float, part: str, index: int) -> None:
    images, test = make_floats(), make_floats(6)
    (images if part == "TRAIN" else test)[index:, 2, 7, 5] = value
    with pytest.raises(DataError, match=f"{part}: image {index} holds NaN or infinity"):
        assemble("s", parts(images, test=(test, make_labels(6))))


def test_the_ends_of_float32_are_no_infinity() -> None:
    images = make_floats()
    images[3, 0, 0, 0] = 1e18
    assert assemble("s", parts(images)).value_range[1] == pytest.approx(1e18)


# The fingerprint


def fingerprint(images: np.ndarray, labels: np.ndarray | None = None, **changes: Any) -> str:
    return assemble("s", parts(images, labels, **changes)).fingerprint


MEMORY_ORDERS = {
    "contiguous": lambda x: x,
    "Fortran": np.asfortranarray,
    "channels last in memory": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)),
    "every second image": lambda x: np.repeat(x, 2, axis=0)[::2],
    "mirrored view of a mirrored array": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("chunk", [1000, 16 << 20], ids=lambda n: f"{n} bytes a chunk")
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("order", MEMORY_ORDERS)
def test_the_fingerprint_does_not_depend_on_memory_order_or_chunks(
    monkeypatch: pytest.MonkeyPatch, order: str, dtype: type, chunk: int
) -> None:
    images = make_images().astype(dtype)
    wanted = fingerprint(images)
    monkeypatch.setattr(dataset, "_CHUNK_BYTES", chunk)
    assert fingerprint(MEMORY_ORDERS[order](images)) == wanted


@pytest.mark.parametrize("dtype", [">f4", "f8", ">f8"])
def test_the_fingerprint_does_not_depend_on_byte_order_or_width_of_equal_values(dtype: str) -> None:
    assert fingerprint(make_floats().astype(dtype)) == fingerprint(make_floats())
    assert fingerprint(make_images(), make_labels().astype(dtype)) == fingerprint(make_images())


def test_the_fingerprint_is_of_the_values_alone() -> None:
    renamed = assemble("elsewhere", parts(names=("a", "b", "c")))
    assert renamed.fingerprint == fingerprint(make_images())
    assert re.fullmatch("[0-9a-f]{64}", renamed.fingerprint)


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (5, 1, 3, 2), (11, 2, 7, 5)])
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_fingerprint_changes_with_any_pixel(place: tuple[int, ...], part: str, dtype: type) -> None:
    images, test = make_images().astype(dtype), make_images(12, seed=1).astype(dtype)
    before = fingerprint(images, test=(test.copy(), make_labels()))
    (images if part == "train" else test)[place] = 255 - (images if part == "train" else test)[place]
    assert fingerprint(images, test=(test, make_labels())) != before


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("place", [0, 5, 11])
def test_the_fingerprint_changes_with_any_label(place: int, part: str) -> None:
    labels, test_labels = make_labels(), make_labels()
    before = fingerprint(make_images(), labels.copy(), test=(make_images(), test_labels.copy()))
    changed = labels if part == "train" else test_labels
    changed[place] = (changed[place] + 1) % CLASSES
    assert fingerprint(make_images(), labels, test=(make_images(), test_labels)) != before


def test_the_fingerprint_changes_with_shape_dtype_order_and_the_cut_between_the_parts() -> None:
    images, labels = make_images(18), make_labels(18)
    cut = [fingerprint(images[:n], labels[:n], test=(images[n:], labels[n:])) for n in (9, 12)]
    others = [
        fingerprint(images[:12].astype(np.float32), labels[:12], test=(images[12:].astype(np.float32), labels[12:])),
        fingerprint(
            images[:12].transpose(0, 1, 3, 2), labels[:12], test=(images[12:].transpose(0, 1, 3, 2), labels[12:])
        ),
        fingerprint(
            images[:12].reshape(-1, 3, 6, 8), labels[:12], test=(images[12:].reshape(-1, 3, 6, 8), labels[12:])
        ),
        fingerprint(images[11::-1], labels[:12], test=(images[12:], labels[12:])),
        fingerprint(images[12:], labels[12:], test=(images[:12], labels[:12])),
    ]
    assert len({*cut, *others}) == 7


# The part that is held out


def make_split(*counts: int) -> Split:
    """Images of one pixel that is their place in the file, with `counts` of each class, classes mixed."""
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(0).shuffle(labels)
    return Split(np.arange(len(labels), dtype=np.float32)[:, None, None, None], labels)


@pytest.mark.parametrize(
    ("counts", "share", "held"),
    [
        ((50, 50), 0.2, [10, 10]),
        ((100, 50, 25), 0.2, [20, 10, 5]),
        ((1000, 10), 0.1, [100, 1]),
        ((5, 5, 5), 0.2, [1, 1, 1]),
        ((2, 2), 0.2, [1, 1]),
        ((2, 2, 2, 2, 2), 0.1, [1, 1, 1, 1, 1]),
        ((40, 40), 0.5, [20, 20]),
    ],
    ids=str,
)
def test_the_same_share_of_each_class_is_held_out(counts: tuple[int, ...], share: float, held: list[int]) -> None:
    rest, out = split_off(make_split(*counts), share, 0, "HERE")
    assert np.bincount(out.labels).tolist() == held
    assert np.bincount(rest.labels).tolist() == [n - m for n, m in zip(counts, held, strict=True)]


@pytest.mark.parametrize("counts", [(50, 50), (100, 50, 25), (2, 2), (7, 3, 11)], ids=str)
def test_each_image_is_in_one_part_with_its_label_in_file_order(counts: tuple[int, ...]) -> None:
    split = make_split(*counts)
    rest, out = split_off(split, 0.2, 0, "HERE")
    places = [part.images[:, 0, 0, 0].astype(int) for part in (rest, out)]
    assert sorted(np.concatenate(places).tolist()) == list(range(sum(counts)))
    for part, place in zip((rest, out), places, strict=True):
        assert (np.diff(place) > 0).all()
        np.testing.assert_array_equal(part.labels, split.labels[place])


def test_the_seed_alone_decides_which_images_are_held_out() -> None:
    def held(seed: int) -> list[int]:
        np.random.seed(len(seen))  # a state that others may leave behind
        return split_off(make_split(40, 60), 0.2, seed, "HERE")[1].images.ravel().tolist()

    seen: list[list[int]] = []
    for seed in (0, 0, 1, 0):
        seen.append(held(seed))
    assert seen[0] == seen[1] == seen[3] != seen[2]


def test_the_images_held_out_are_not_simply_the_first_or_last() -> None:
    _, out = split_off(make_split(50, 50), 0.2, 0, "HERE")
    places = out.images.ravel()
    assert places.min() < 40
    assert places.max() > 60


def test_splitting_leaves_the_split_as_it_was() -> None:
    split = make_split(10, 10)
    before = split.images.copy(), split.labels.copy()
    split_off(split, 0.2, 0, "HERE")
    np.testing.assert_array_equal(split.images, before[0])
    np.testing.assert_array_equal(split.labels, before[1])


def test_a_class_of_a_single_image_is_named() -> None:
    with pytest.raises(DataError, match="HERE: class 1 has one image, too few to hold one out"):
        split_off(make_split(5, 1, 5), 0.2, 0, "HERE")


def test_a_source_without_a_test_part_is_split_by_the_fixed_share_and_seed() -> None:
    whole = Parts("layout", Part(make_images(30), make_labels(30), "TRAIN"))
    made = assemble("s", whole)
    rest, out = split_off(Split(make_images(30), make_labels(30)), dataset.TEST_SHARE, dataset.SPLIT_SEED, "HERE")
    np.testing.assert_array_equal(made.train.images, rest.images)
    np.testing.assert_array_equal(made.test.images, out.images)
    assert made.notes == ("there is no test part: 6 of 30 images are held out for it (stratified, seed 0)",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 2] * 6), "class 1 (1) has no training images"),
        (np.zeros(COUNT, int), "all images are of one class"),
        (np.array([0, 1] * 5 + [2, 0]), "class 2 has one image"),
        (np.array([0, 1] * 5 + [0, -1]), "label 11 is -1"),
    ],
    ids=["gap", "one class", "one image", "negative"],
)
def test_wrong_labels_are_refused_without_a_test_part_too(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"TRAIN: {message}")):
        assemble("s", Parts("layout", Part(make_images(), labels, "TRAIN")))
