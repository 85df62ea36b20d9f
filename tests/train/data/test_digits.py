"""The embedded digits: what scikit-learn has, drawn larger, and nothing else."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from clf_runtime.datasets import digits
from clf_runtime.datasets.source import Memory, Part, load
from clf_train.data.dataset import Dataset
from clf_train.data.sources import read_source


def part() -> Part:
    train = digits.look().train
    assert train is not None
    return train()


@pytest.fixture(scope="module")
def parts_images() -> np.ndarray:
    return load(part(), Memory(np.empty, 1 << 30))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_source("digits")


def test_every_digit_is_there_in_file_order_as_uint8_of_3x32x32(parts_images: np.ndarray) -> None:
    assert parts_images.shape == (1797, 3, 32, 32)
    assert parts_images.dtype == np.uint8
    np.testing.assert_array_equal(part().labels(), load_digits().target)
    assert digits.look().test is None


def test_the_three_planes_are_alike(parts_images: np.ndarray) -> None:
    np.testing.assert_array_equal(parts_images[:, 0], parts_images[:, 1])
    np.testing.assert_array_equal(parts_images[:, 0], parts_images[:, 2])


@pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 3), (3, 0), (3, 3), (1, 2)])
def test_each_of_the_8x8_squares_is_4x4_pixels_of_its_grey(parts_images: np.ndarray, y: int, x: int) -> None:
    np.testing.assert_array_equal(parts_images[:, 0, y::4, x::4], np.rint(load_digits().images * 255 / 16))


def test_greys_span_the_whole_byte(parts_images: np.ndarray) -> None:
    assert (parts_images.min(), parts_images.max()) == (0, 255)
    assert len(np.unique(parts_images)) == 17


def test_as_a_dataset_a_stratified_fifth_is_held_out(dataset: Dataset) -> None:
    assert dataset.source == "digits"
    assert (len(dataset.train), len(dataset.test)) == (1438, 359)
    assert dataset.names == tuple("0123456789")
    assert dataset.value_range == (0.0, 255.0)
    shares = np.bincount(dataset.test.labels) / np.bincount(load_digits().target)
    np.testing.assert_allclose(shares, 0.2, atol=0.005)
    (note,) = dataset.notes
    assert "359 of 1,797 images are held out" in note


def test_every_read_gives_the_same_split(dataset: Dataset) -> None:
    again = read_source("digits")
    assert again.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(again.test.labels, dataset.test.labels)


def test_names_stand_in_for_the_numbers() -> None:
    words = "zero,one,two,three,four,five,six,seven,eight,nine"
    assert read_source("digits", names=words).names == tuple(words.split(","))
