"""What is doubtful about images: leaks, pictures under two labels, rare and unequal classes."""

import dataclasses
from collections.abc import Callable

import numpy as np
from small_arrays import make_images

from clf_train.data.assembly import assemble
from clf_train.data.dataset import Part, Parts
from clf_train.data.doubts import find_doubts, hash_images

NAMES = ("cat", "dog")


def hashes(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


def doubts(train: np.ndarray, test: np.ndarray, validation: int = 0) -> tuple[str, ...]:
    return find_doubts(train, np.zeros(len(train), int), test, np.zeros(len(test), int), ("cat",), validation)


def test_good_data_leave_no_doubt() -> None:
    train, test = np.arange(40, dtype=np.uint64), np.arange(40, 50, dtype=np.uint64)
    assert find_doubts(train, np.arange(40) % 2, test, np.arange(10) % 2, NAMES) == ()


def test_images_of_one_part_in_another_are_counted_and_the_first_named() -> None:
    train = np.arange(30, dtype=np.uint64)
    (leak,) = doubts(train, hashes(99, 7, 7, 98))
    assert leak.startswith(
        "2 of 4 test images are also in the training part, pixel for pixel (the first: test image 1, "
    )
    assert "training image 7)" in leak
    found = doubts(np.concatenate([train, hashes(50, 3)]), hashes(99, 50), validation=2)
    assert [f.split(",")[0] for f in found] == [
        "1 of 2 test image is also in the validation part",
        "1 of 2 validation image is also in the training part",
    ]


def test_a_picture_under_two_labels_is_one_wrong_label() -> None:
    train, labels = np.arange(40, dtype=np.uint64), np.arange(40) % 2
    train[1] = train[0]
    (found,) = find_doubts(train, labels, hashes(90), np.array([0]), NAMES)
    assert found == "1 picture has several labels (the first: cat and dog), of which at most one is right"
    train[3] = train[1]
    train[5], labels[5] = train[0], 0
    assert find_doubts(train, labels, hashes(90), np.array([0]), NAMES)[0].startswith("1 picture has")


def test_rare_and_unequal_classes_are_named() -> None:
    labels = np.repeat([0, 1], [27, 9])
    found = find_doubts(np.arange(36, dtype=np.uint64), labels, hashes(200), np.array([0]), NAMES)
    assert found[0] == "1 of 2 classes have fewer than 10 training images: dog 9"
    assert found[1].startswith("unequal classes: 27 training images of cat, 9 of dog")
    assert "--class-weights balanced" in found[1]
    assert len(find_doubts(np.arange(35, dtype=np.uint64), labels[1:], hashes(200), np.array([0]), NAMES)) == 1


def test_only_equal_pixels_have_equal_hashes() -> None:
    for images in (make_images(6), make_images(6).astype(np.float32)):
        images[4] = images[1]
        images[5] = images[1]
        images[5, 0, 0, 0] += 1
        found = hash_images(np.ascontiguousarray(images))
        assert found[4] == found[1]
        assert len(np.unique(found)) == 5


def test_a_dataset_has_its_doubts(good_parts: Callable[..., Parts]) -> None:
    parts = good_parts()  # whose test images are training images
    made = assemble("s", parts)
    assert made.doubts[0].startswith("6 of 6 test images are also in the training part")
    held = dataclasses.replace(parts, validation=Part(make_images(3, seed=5), np.arange(3), "VAL"))
    assert len([doubt for doubt in assemble("s", held).doubts if "validation" in doubt]) == 0
