"""Warnings about labelled images before a training: duplicates, rare and unequal classes.

Pictures are duplicates if all their pixels are equal; near duplicates are not detected.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

FEW_IMAGES = 10  # of a class; with fewer little can be learnt and nothing measured
UNEQUAL = 3  # times as many images in the largest class as in the smallest
_FEW = 5


def hash_images(images: np.ndarray) -> np.ndarray:
    """A hash of each image, uint64 [N], of images [N, ...] in C order.

    Among a million images a collision has a probability below one in ten million.
    """
    flat = images.reshape(len(images), -1).view(np.uint8)
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in flat)
    return np.frombuffer(digests, np.uint64)


def find_doubts(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    names: Sequence[str],
    validation_images: int = 0,
) -> tuple[str, ...]:
    """Messages for the user about images, by their hashes, uint64 [N], and labels, int64 [N].

    The last `validation_images` of the training part are a validation part.
    """
    fitted = len(train) - validation_images
    said = [
        _shared("test", test, "training", train[:fitted]),
        _shared("test", test, "validation", train[fitted:]),
        _shared("validation", train[fitted:], "training", train[:fitted]),
        _contradictions(np.concatenate([train, test]), np.concatenate([train_labels, test_labels]), names),
        _rare(np.bincount(train_labels[:fitted], minlength=len(names)), names),
        _unequal(np.bincount(train_labels[:fitted], minlength=len(names)), names),
    ]
    return tuple(sentence for sentence in said if sentence)


def _shared(name: str, part: np.ndarray, other_name: str, other: np.ndarray) -> str | None:
    """The number of images of a part that are also in another."""
    if not len(other):
        return None
    leaks = np.flatnonzero(np.isin(part, other))
    if not len(leaks):
        return None
    twin = int(np.flatnonzero(other == part[leaks[0]])[0])
    are = "image is" if len(leaks) == 1 else "images are"
    return (
        f"{len(leaks):,} of {len(part):,} {name} {are} also in the {other_name} part, pixel for pixel (the first: "
        f"{name} image {leaks[0]}, {other_name} image {twin}): they inflate the figures of the {name} part"
    )


def _contradictions(hashes: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> str | None:
    """The number of pictures with several labels."""
    pairs = np.unique(np.stack([hashes, labels.astype(np.uint64)], axis=1), axis=0)
    unique, counts = np.unique(pairs[:, 0], return_counts=True)
    several = unique[counts > 1]
    if not len(several):
        return None
    first = np.unique(labels[hashes == several[0]])
    pictures = "picture has" if len(several) == 1 else "pictures have"
    called = " and ".join(names[label] for label in first[:_FEW])
    return f"{len(several):,} {pictures} several labels (the first: {called}), of which at most one is right"


def _rare(counts: np.ndarray, names: Sequence[str]) -> str | None:
    rare = np.flatnonzero(counts < FEW_IMAGES)
    if not len(rare):
        return None
    listed = ", ".join(f"{names[label]} {counts[label]}" for label in rare[:_FEW]) + ", ..." * (len(rare) > _FEW)
    return f"{len(rare):,} of {len(names):,} classes have fewer than {FEW_IMAGES} training images: {listed}"


def _unequal(counts: np.ndarray, names: Sequence[str]) -> str | None:
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] < UNEQUAL * counts[least]:
        return None
    return (
        f"unequal classes: {counts[most]:,} training images of {names[most]}, {counts[least]:,} of {names[least]}; "
        "see the recall of each class rather than the accuracy; --class-weights balanced gives all the same weight"
    )
