"""The parts of a source, validated and made one Dataset."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from clf_runtime.datasets.holdout import SPLIT_SEED, TEST_SHARE
from clf_runtime.model.geometry import USUAL, Geometry
from clf_train.data import spill
from clf_train.data.array_checks import as_images, check_names, either_layout, labels_of, shape_text
from clf_train.data.dataset import Dataset, Part, Parts, Split
from clf_train.data.doubts import find_doubts
from clf_train.data.splitting import split_off, split_rows
from clf_train.data.statistics import find_range, scan
from clf_train.errors import DataError

_FEW = 20  # class names in a message


def assemble(
    source: str,
    parts: Parts,
    names: tuple[str, ...] | None = None,
    as_before: bool = False,
    geometry: Geometry = USUAL,
    undivided: bool = False,
) -> Dataset:
    """Validate the parts of a source and combine them to a Dataset; `names` replace the source's own.

    With `undivided` nothing is held out of the training images, and a validation part joins them.

    Raises DataError, naming the part, for a wrong shape or dtype, unequal lengths, NaN, labels that are not 0..n-1, a
    class without training images, or names that do not fit.
    """
    notes = list(parts.notes)
    train = Split(as_images(parts.train), labels_of(parts.train, is_train=True))
    place = _placing(parts.train)
    if parts.test is None and undivided:
        test = train
        notes.append("there is no test part, and none is held out: the predictions of the folds are used instead")
    elif parts.test is None:
        kept, _ = split_rows(train.labels, TEST_SHARE, SPLIT_SEED, parts.train.where)
        place = _placing(parts.train, kept)
        train, test = split_off(train, TEST_SHARE, SPLIT_SEED, parts.train.where)
        notes.append(
            f"there is no test part: {len(test):,} of {len(train) + len(test):,} images are held out for it "
            f"(stratified, seed {SPLIT_SEED})"
        )
    else:
        test = _like_train(parts.test, train, parts.train.where)
    validation = None if parts.validation is None else _like_train(parts.validation, train, parts.train.where)
    if (note := either_layout(parts.train)) is not None:
        notes.append(note)
    if parts.by_folder and names and parts.names:
        _refuse_exchanged(names, parts.names, parts.train.where)
    names, missing = _check_classes(parts, train, test, names or parts.names)
    if missing:
        more = f", and of {len(missing) - _FEW:,} other classes" if len(missing) > _FEW else ""
        notes.append(f"the test part has no images of {', '.join(missing[:_FEW])}{more}")

    digest = hashlib.sha256()
    if validation is not None and parts.validation is not None:
        _refuse_untrained(validation, parts.validation.where, len(names))
        digest.update(f"validation {len(validation)}\n".encode())
        place = _one_after_the_other(place, len(train), _placing(parts.validation))
        train = _joined(train, validation)
        what = "join the training images" if undivided else "are held out, in place of a share"
        notes.append(f"the {len(validation):,} images of the validation part {what}")
    held = 0 if validation is None or undivided else len(validation)
    seen = scan(train, parts.train.where, digest)
    test_seen = None
    if parts.test is None and undivided:
        test = train
    else:
        test_seen = scan(test, parts.test.where if parts.test else parts.train.where, digest)
    value_range = (0.0, 255.0) if train.images.dtype == np.uint8 else find_range(seen.low, seen.high)
    slack = 1e-3 * (value_range[1] - value_range[0])
    if test_seen and (test_seen.low < value_range[0] - slack or test_seen.high > value_range[1] + slack):
        notes.append(
            f"test images span {test_seen.low:g}..{test_seen.high:g}, training images {seen.low:g}..{seen.high:g}: "
            "check that both have the same scale"
        )
    test_hashes = test_seen.hashes if test_seen else seen.hashes[:0]
    return Dataset(
        source,
        parts.layout,
        train,
        test,
        names,
        value_range,
        seen.mean,
        seen.std,
        digest.hexdigest(),
        tuple(notes),
        held or None,
        parts.skipped,
        as_before,
        find_doubts(seen.hashes, train.labels, test_hashes, test.labels[: len(test_hashes)], names, held),
        geometry,
        undivided,
        place,
        None if parts.outliers is None else _like_train(parts.outliers, train, parts.train.where).images,
    )


def _placing(part: Part, rows: np.ndarray | None = None) -> Callable[[int], str]:
    """The names of the images of a part, or of some `rows` of it, in messages."""
    place = part.place or (lambda i: f"{part.where}[{i}]")
    return place if rows is None else lambda i: place(int(rows[i]))


def _one_after_the_other(first: Callable[[int], str], count: int, second: Callable[[int], str]) -> Callable[[int], str]:
    return lambda i: first(i) if i < count else second(i - count)


def _like_train(part: Part, train: Split, train_where: str) -> Split:
    """A part whose images must have the shape and dtype of the training images."""
    split = Split(as_images(part), labels_of(part))
    a, b = (f"{images.dtype} {shape_text(images.shape[1:])}" for images in (train.images, split.images))
    if a != b:
        raise DataError(f"{part.where}: images of {b}, but {train_where} has {a}")
    return split


def _joined(first: Split, second: Split) -> Split:
    """Two splits concatenated. Raises DataError if there is no room: see spill."""
    images = spill.empty((len(first) + len(second), *first.images.shape[1:]), first.images.dtype)
    images[: len(first)], images[len(first) :] = first.images, second.images
    return Split(images, np.concatenate([first.labels, second.labels]))


def _check_classes(
    parts: Parts, train: Split, test: Split, names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[str]]:
    """Return the class names, and those without test images."""
    where = parts.train.where
    highest = int(train.labels.max())
    counts = np.bincount(train.labels, minlength=len(names or ()))
    if names is not None and len(names) < len(counts):
        raise DataError(f"{where}: labels go up to {highest}, but there are {len(names)} class names")
    names = check_names(names or [str(i) for i in range(len(counts))], where)
    for label in np.flatnonzero(counts == 0):
        raise DataError(f"{where}: class {label} ({names[label]}) has no training images; labels must be 0 to n-1")
    if len(counts) < 2:
        raise DataError(f"{where}: all images are of one class; a classifier needs at least two")
    _refuse_untrained(test, parts.test.where if parts.test else where, len(counts))
    tested = np.bincount(test.labels, minlength=len(counts))
    return names, [names[i] for i in np.flatnonzero(tested == 0)]


def _refuse_exchanged(names: Sequence[str], own: Sequence[str], where: str) -> None:
    """Raise DataError if a class is given the name that the source has for another."""
    for given, its in zip(names, own, strict=False):
        if given != its and given in own:
            raise DataError(
                f"{where}: --names calls the class {its!r} {given!r}, which is another class; the order is that of the "
                f"source: {', '.join(own[:_FEW])}{', ...' * (len(own) > _FEW)}"
            )


def _refuse_untrained(part: Split, where: str, classes: int) -> None:
    beyond = part.labels >= classes
    if beyond.any():
        raise DataError(
            f"{where}: label {int(np.argmax(beyond))} is {part.labels[beyond][0]}, a class without training images"
        )
