"""What a Dataset says of its values: mean, standard deviation, range; and that NaN and infinity are refused."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from small_arrays import COUNT, SHAPE, make_floats, make_images, make_labels

from clf_train.data import statistics
from clf_train.data.assembly import assemble
from clf_train.data.dataset import Parts
from clf_train.errors import DataError

Make = Callable[..., Parts]


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
def test_mean_and_std_are_those_of_numpy_in_float64(
    good_parts: Make, monkeypatch: pytest.MonkeyPatch, kind: str, chunk: int
) -> None:
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", chunk)
    made = assemble("s", good_parts(STATISTICS[kind]))
    mean, std = reference(made.train.images)
    np.testing.assert_allclose(made.mean, mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(made.std, std, rtol=1e-5, atol=1e-7)
    assert all(type(value) is float for value in (*made.mean, *made.std))


def test_std_of_values_far_from_zero(good_parts: Make) -> None:
    images = (1000 + 0.1 * np.random.default_rng(0).standard_normal((20, 3, 32, 32))).astype(np.float32)
    np.testing.assert_allclose(assemble("s", good_parts(images)).std, reference(images)[1], rtol=1e-3)


def test_std_is_finite_for_finite_images(good_parts: Make) -> None:
    images = make_images().astype(np.float32)
    images[3, 0, 0, 0] = -3.4e38
    with contextlib.suppress(DataError):
        assert np.isfinite(assemble("s", good_parts(images)).std).all()


def test_the_test_part_has_no_say_in_mean_std_and_range(good_parts: Make) -> None:
    small = assemble("s", good_parts(make_floats()))
    large = assemble("s", good_parts(make_floats(), test=(make_floats(6) * 100, make_labels(6))))
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
    good_parts: Make, low: float, high: float, wanted: tuple[float, float]
) -> None:
    images = np.full((COUNT, *SHAPE), low, np.float32)
    images[5, 1, 2, 3] = high
    assert assemble("s", good_parts(images)).value_range == wanted


@pytest.mark.parametrize("top", [1, 100, 255])
def test_uint8_has_the_range_of_a_byte_whatever_its_values(good_parts: Make, top: int) -> None:
    images = np.minimum(make_images(), top).astype(np.uint8)
    assert assemble("s", good_parts(images)).value_range == (0, 255)


@pytest.mark.parametrize(
    ("factor", "noted"), [(1, False), (0.5, False), (1.0005, False), (1.1, True), (255, True), (-1, True)]
)
def test_test_images_outside_the_training_range_are_noted(good_parts: Make, factor: float, noted: bool) -> None:
    images = make_floats()
    images[0, 0, 0, 0] = 1
    made = assemble("s", good_parts(images, test=(images[:6] * np.float32(factor), make_labels(6))))
    assert [("check that both have the same scale" in note) for note in made.notes] == [True] * noted


# NaN and infinity


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["TRAIN", "TEST"])
@pytest.mark.parametrize("index", [0, 3, 5])
def test_the_first_image_with_nan_or_infinity_is_named(good_parts: Make, value: float, part: str, index: int) -> None:
    images, test = make_floats(), make_floats(6)
    (images if part == "TRAIN" else test)[index:, 2, 7, 5] = value
    with pytest.raises(DataError, match=f"{part}: image {index} contains NaN or infinity"):
        assemble("s", good_parts(images, test=(test, make_labels(6))))


def test_the_ends_of_float32_are_no_infinity(good_parts: Make) -> None:
    images = make_floats()
    images[3, 0, 0, 0] = 1e18
    assert assemble("s", good_parts(images)).value_range[1] == pytest.approx(1e18)


def test_nan_beyond_the_first_chunk_is_refused(good_parts: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", 1)
    images = make_floats()
    images[7, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="TRAIN: image 7 contains NaN"):
        assemble("s", good_parts(images))


def test_float64_beyond_float32(good_parts: Make) -> None:
    images = make_images().astype(np.float64)
    images[3, 0, 0, 0] = 1e300
    with pytest.raises(DataError, match="image 3"):
        assemble("s", good_parts(images))
