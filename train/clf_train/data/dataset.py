"""Dataset: validated labelled images of one shape, from any layout.

Letters in shapes: N images, C channels, H height, W width.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clf_runtime.datasets.holdout import SPLIT_SEED, TEST_SHARE, hold_out
from clf_runtime.datasets.source import as_labels
from clf_runtime.errors import ImageError
from clf_runtime.model.geometry import USUAL, Geometry
from clf_runtime.model.names import names_fault
from clf_train.data import spill
from clf_train.data.doubts import find_doubts, hash_images
from clf_train.errors import DataError

CHANNELS = (1, 3, 4)
_FEW = 20  # class names in a message
_CHUNK_BYTES = 16 << 20
_WIDE_BYTES = 1 << 20  # of a chunk as float64, small enough for the cache


@dataclass(frozen=True)
class Part:
    """A part of a source as it was read: images [N, C, H, W] or [N, H, W, C] or [N, H, W].

    `where` names its files in errors, and `place(i)` image i, if it has a better name than its index.
    """

    images: np.ndarray
    labels: np.ndarray
    where: str
    place: Callable[[int], str] | None = None


@dataclass(frozen=True)
class Parts:
    """The content of a source: its layout in words, its parts (only training is required), class names, and notes.

    `skipped` are the pictures that were skipped since they cannot be decoded. `by_folder` says that the names are those
    of the images themselves, as of folders, and not only of their numbers.
    """

    layout: str
    train: Part
    test: Part | None = None
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    validation: Part | None = None
    skipped: tuple[str, ...] = ()
    by_folder: bool = False


@dataclass(frozen=True)
class Split:
    """Images, uint8 or float32 [N, C, H, W], possibly memory-mapped, and labels, int64 [N] in 0..classes-1."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A source, read and validated.

    `value_range` is 0..255 for uint8; for floats the first of 0..1, 0..255 and -1..1 that contains all training images,
    else their minimum and maximum. `mean` and `std`, one per channel, are of the training images in their own units.
    `fingerprint` is a SHA-256 over the values, shapes and labels of both parts. `notes` are messages for the user.
    The last `validation_images` of the training part are those of the source's own validation part, None if it has
    none. `skipped` are the pictures that were skipped since they cannot be decoded. `as_before` is read_source's.
    `geometry` says how pictures were resized, and how others are resized on a device.
    `doubts` are warnings about the images or their labels: see doubts.
    `undivided` is read_source's: if the source has no test part, `test` is then `train` itself.
    `place(i)` is the name of training image i in messages: a file, or its index in one.
    """

    source: str
    layout: str
    train: Split
    test: Split
    names: tuple[str, ...]
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    notes: tuple[str, ...] = field(default=())
    validation_images: int | None = None
    skipped: tuple[str, ...] = ()
    as_before: bool = False
    doubts: tuple[str, ...] = ()
    geometry: Geometry = USUAL
    undivided: bool = False
    place: Callable[[int], str] = "image {}".format

    @property
    def has_test(self) -> bool:
        """Whether the test images differ from the training images."""
        return self.test is not self.train

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @property
    def dtype(self) -> str:
        """`uint8` or `float32`."""
        return str(self.train.images.dtype)


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
    train = Split(as_images(parts.train), _as_labels(parts.train, is_train=True))
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
    if (note := _either_layout(parts.train)) is not None:
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
    hashes, test_hashes = (np.empty(len(part), np.uint64) for part in (train, test))
    low, high, mean, std = _scan(train, parts.train.where, digest, hashes)
    test_where = parts.test.where if parts.test else parts.train.where
    test_low, test_high = low, high
    if parts.test is None and undivided:
        test, test_hashes = train, test_hashes[:0]
    else:
        test_low, test_high, _, _ = _scan(test, test_where, digest, test_hashes)
    value_range = (0.0, 255.0) if train.images.dtype == np.uint8 else _find_range(low, high)
    slack = 1e-3 * (value_range[1] - value_range[0])
    if test_low < value_range[0] - slack or test_high > value_range[1] + slack:
        notes.append(
            f"test images span {test_low:g}..{test_high:g}, training images {low:g}..{high:g}: check that both have "
            "the same scale"
        )
    return Dataset(
        source,
        parts.layout,
        train,
        test,
        names,
        value_range,
        mean,
        std,
        digest.hexdigest(),
        tuple(notes),
        held or None,
        parts.skipped,
        as_before,
        find_doubts(hashes, train.labels, test_hashes, test.labels[: len(test_hashes)], names, held),
        geometry,
        undivided,
        place,
    )


def _placing(part: Part, rows: np.ndarray | None = None) -> Callable[[int], str]:
    """The names of the images of a part, or of some `rows` of it, in messages."""
    place = part.place or (lambda i: f"{part.where}[{i}]")
    return place if rows is None else lambda i: place(int(rows[i]))


def _one_after_the_other(first: Callable[[int], str], count: int, second: Callable[[int], str]) -> Callable[[int], str]:
    return lambda i: first(i) if i < count else second(i - count)


def _like_train(part: Part, train: Split, train_where: str) -> Split:
    """A part whose images must have the shape and dtype of the training images."""
    split = Split(as_images(part), _as_labels(part))
    a, b = train.images, split.images
    if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
        raise DataError(
            f"{part.where}: images of {b.dtype} {_x(b.shape[1:])}, but {train_where} has {a.dtype} {_x(a.shape[1:])}"
        )
    return split


def _joined(first: Split, second: Split) -> Split:
    """Two splits concatenated. Raises DataError if there is no room: see spill."""
    images = spill.empty((len(first) + len(second), *first.images.shape[1:]), first.images.dtype)
    images[: len(first)], images[len(first) :] = first.images, second.images
    return Split(images, np.concatenate([first.labels, second.labels]))


def split_off(split: Split, share: float, seed: int, where: str) -> tuple[Split, Split]:
    """Hold out a share of each class as a separate part; returns (the rest, the held out), copied, in file order.

    Raises DataError if a class has only one image, or if there is no room: see spill.
    """
    parts = split_rows(split.labels, share, seed, where)
    kept, held = (Split(spill.take(split.images, rows), split.labels[rows]) for rows in parts)
    return kept, held


def split_rows(labels: np.ndarray, share: float, seed: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Choose a share of each class at random from `seed`: the rows of the rest and of the chosen, int64, sorted.

    Raises DataError if a class has only one image.
    """
    counts = np.bincount(labels)
    for label in np.flatnonzero(counts == 1):
        raise DataError(f"{where}: class {label} has only one image, so none can be held out")
    held = hold_out(labels, share, seed)
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held


def as_images(part: Part) -> np.ndarray:
    """Return uint8 or float32 [N, C, H, W], a view if the values need no conversion."""
    images, where = part.images, part.where
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(f"{where}: images of shape {_x(part.images.shape)}; expected N x channels x height x width")
    if images.shape[1] not in CHANNELS:
        if images.shape[3] not in CHANNELS:
            raise DataError(
                f"{where}: images of shape {_x(part.images.shape)}: neither the second nor the last axis is 1, 3 or 4 "
                "channels"
            )
        images = images.transpose(0, 3, 1, 2)
    if part.labels.ndim and len(images) != len(part.labels):
        raise DataError(f"{where}: {len(images):,} images, but {len(part.labels):,} labels")
    if images.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinity, which is refused with the index of its image
            is_fit = images.dtype == np.float32 and images.flags.aligned  # may be false in a mapped .npz
            return images if is_fit else spill.convert(images, np.float32)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "iu":
        if images.min() < 0 or images.max() > 255:
            raise DataError(f"{where}: {images.dtype} images with values {images.min()}..{images.max()}, not 0..255")
        return spill.convert(images, np.uint8)
    raise DataError(f"{where}: images of dtype {images.dtype}; expected uint8 or float32")


def _either_layout(part: Part) -> str | None:
    """A note if the channels of the images may be on the second or on the last axis, which is rare."""
    shape = part.images.shape
    if len(shape) != 4 or shape[1] not in CHANNELS or shape[3] not in CHANNELS:
        return None
    n, a, b, c = shape
    return (
        f"images of shape {_x((n, a, b, c))} are read as {a} channel{'s' * (a > 1)} of {b}x{c}, the channels first; if "
        f"they are {c} channel{'s' * (c > 1)} of {a}x{b}, the channels last, pass images.transpose(0, 3, 1, 2)"
    )


def _as_labels(part: Part, is_train: bool = False) -> np.ndarray:
    """Return int64 [N]."""
    where = part.where
    try:
        whole = as_labels(part.labels, where)
    except ImageError as error:
        raise DataError(str(error)) from None
    if len(whole) and is_train and whole.max() > len(whole):
        raise DataError(
            f"{where}: a label is {whole.max():,}, but there are only {len(whole):,} images; labels are 0 to n-1"
        )
    return whole


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


def _scan(
    split: Split, where: str, digest: "hashlib._Hash", hashes: np.ndarray
) -> tuple[float, float, tuple[float, ...], tuple[float, ...]]:
    """Read all images once, in chunks: hash them, refuse NaN; return minimum, maximum, each channel's mean and std.

    The hash of each is written to `hashes`.
    """
    images = split.images
    n, channels, height, width = images.shape
    digest.update(f"{images.dtype} {images.shape}\n".encode())
    low, high = np.inf, -np.inf
    total, squares = np.zeros(channels), np.zeros(channels)
    rows = max(1, _CHUNK_BYTES // (channels * height * width * images.dtype.itemsize))
    few = max(1, _WIDE_BYTES // (channels * height * width * 8))
    most = max(1, _WIDE_BYTES // (channels * 8))  # pixels of an image; all of them if `few` fit
    for first in range(0, n, rows):
        chunk: np.ndarray[Any, Any] = np.ascontiguousarray(images[first : first + rows])
        digest.update(chunk.data)
        hashes[first : first + len(chunk)] = hash_images(chunk)
        lowest, highest = float(chunk.min()), float(chunk.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            bad = ~np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
            raise DataError(f"{where}: image {first + int(np.argmax(bad))} contains NaN or infinity")
        low, high = min(low, lowest), max(high, highest)
        planes = chunk.reshape(len(chunk), channels, -1)
        for i in range(0, len(planes), few):
            for j in range(0, height * width, most):
                wide = planes[i : i + few, :, j : j + most].astype(np.float64)
                total += wide.sum(axis=(0, 2))
                squares += np.einsum("ncp,ncp->c", wide, wide)
    digest.update(split.labels.astype("<i8", copy=False).data)
    count = n * height * width
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return low, high, tuple(mean.tolist()), tuple(std.tolist())


def _find_range(low: float, high: float) -> tuple[float, float]:
    for usual in ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)):
        if usual[0] <= low and high <= usual[1]:
            return usual
    if low == high:
        return low, low + 1
    return low, high


def check_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Strip class names. Raises DataError, naming `where`, if there are none, or they are invalid."""
    stripped = tuple(name.strip() for name in names)
    if not stripped:
        raise DataError(f"{where}: contains no class names")
    if fault := names_fault(stripped):
        raise DataError(f"{where}: {fault}")
    return stripped


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)
