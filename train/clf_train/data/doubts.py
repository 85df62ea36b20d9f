"""What is doubtful about labelled images, said before they cost a training: pictures that are there twice, few of some.

Pictures are the same where all their pixels are; near copies are not looked for.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

FEW_IMAGES = 10  # of a class, of which little can be learnt and nothing measured
UNEQUAL = 3  # times as many images in the largest class as in the smallest
_FEW = 5


def hash_images(images: np.ndarray) -> np.ndarray:
    """A hash of each image, uint64 [N], of images [N, ...] in C order.

    Of a million images two agree by chance less than once in ten million times.
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
    """Sentences for people on images by their hashes, uint64 [N], and labels, int64 [N].

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
    """How many images of a part are in another too."""
    if not len(other):
        return None
    leaks = np.flatnonzero(np.isin(part, other))
    if not len(leaks):
        return None
    twin = int(np.flatnonzero(other == part[leaks[0]])[0])
    are = "image is" if len(leaks) == 1 else "images are"
    return (
        f"{len(leaks):,} of {len(part):,} {name} {are} in the {other_name} part too, pixel for pixel (the first: "
        f"{name} image {leaks[0]}, {other_name} image {twin}): what is measured on them looks better than it is"
    )


def _contradictions(hashes: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> str | None:
    """How many pictures are there under several labels."""
    pairs = np.unique(np.stack([hashes, labels.astype(np.uint64)], axis=1), axis=0)
    unique, counts = np.unique(pairs[:, 0], return_counts=True)
    several = unique[counts > 1]
    if not len(several):
        return None
    first = np.unique(labels[hashes == several[0]])
    pictures = "picture is" if len(several) == 1 else "pictures are"
    called = " and ".join(names[label] for label in first[:_FEW])
    return f"{len(several):,} {pictures} there under several labels (the first as {called}): one of them is wrong"


def _rare(counts: np.ndarray, names: Sequence[str]) -> str | None:
    rare = np.flatnonzero(counts < FEW_IMAGES)
    if not len(rare):
        return None
    listed = ", ".join(f"{names[label]} {counts[label]}" for label in rare[:_FEW]) + ", ..." * (len(rare) > _FEW)
    return f"fewer than {FEW_IMAGES} training images of {len(rare):,} of {len(names):,} classes: {listed}"


def _unequal(counts: np.ndarray, names: Sequence[str]) -> str | None:
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] < UNEQUAL * counts[least]:
        return None
    return (
        f"classes are unequal: {counts[most]:,} training images of {names[most]}, {counts[least]:,} of {names[least]}; "
        "look at the recall of each class, not at the overall accuracy; --class-weights balanced counts all alike"
    )
