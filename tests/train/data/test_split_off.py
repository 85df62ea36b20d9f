"""The part that is held out where a source has no test part."""

import re

import numpy as np
import pytest
from small_arrays import COUNT, make_images, make_labels

from clf_runtime.datasets.holdout import SPLIT_SEED, TEST_SHARE
from clf_train.data.assembly import assemble
from clf_train.data.dataset import Part, Parts, Split
from clf_train.data.splitting import split_off
from clf_train.errors import DataError


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
    with pytest.raises(DataError, match="HERE: class 1 has only one image, so none"):
        split_off(make_split(5, 1, 5), 0.2, 0, "HERE")


def test_a_source_without_a_test_part_is_split_by_the_fixed_share_and_seed() -> None:
    whole = Parts("layout", Part(make_images(30), make_labels(30), "TRAIN"))
    made = assemble("s", whole)
    rest, out = split_off(Split(make_images(30), make_labels(30)), TEST_SHARE, SPLIT_SEED, "HERE")
    np.testing.assert_array_equal(made.train.images, rest.images)
    np.testing.assert_array_equal(made.test.images, out.images)
    assert made.notes == ("there is no test part: 6 of 30 images are held out for it (stratified, seed 0)",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 2] * 6), "class 1 (1) has no training images"),
        (np.zeros(COUNT, int), "all images are of one class"),
        (np.array([0, 1] * 5 + [2, 0]), "class 2 has only one image"),
        (np.array([0, 1] * 5 + [0, -1]), "label 11 is -1"),
    ],
    ids=["gap", "one class", "one image", "negative"],
)
def test_wrong_labels_are_refused_without_a_test_part_too(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"TRAIN: {message}")):
        assemble("s", Parts("layout", Part(make_images(), labels, "TRAIN")))


def test_huge_label_without_test_part() -> None:
    labels = make_labels()
    labels[3] = 10**15
    with pytest.raises(DataError, match="a label is 1,000,000,000,000,000, but there are only"):
        assemble("s", Parts("layout", Part(make_images(), labels, "TRAIN")))
