"""What every reader of labelled images returns: a Source with its Parts, inspected but not yet read."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from clf_runtime.datasets.order import Order, as_people_count
from clf_runtime.errors import ImageError
from clf_runtime.inputs.pictures import Room

MAX_LABEL_BYTES = 1 << 30  # 134 million labels of int64
_PIECE_BYTES = 16 << 20

Decode = Callable[[bytes, str, Room], np.ndarray]
"""Decodes the bytes of a picture with its name to uint8 [height, width, channels], at the size that the caller needs.

Several threads may call it; the room is `decode_picture`'s. Raises ImageError for a picture that cannot be decoded.
"""

Decoded = Callable[[Sequence[int]], Iterator[np.ndarray | ImageError]]
"""The pictures with these indices, ascending: each decoded, uint8 [channels, height, width], or its error."""

Watch = Callable[[int, int], object]
"""Called with the number of pictures that have been read, and of all."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of a part before they are read: their number, and the files that contain them.

    `place(i)` is the name of picture i in messages, and `decoded` reads them.
    """

    count: int
    files: Sequence[Path]
    place: Callable[[int], str]
    decoded: Decoded


def _unkept(pictures: Pictures) -> Decoded:
    return pictures.decoded


def unwatched(done: int, of: int) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class Reading:
    """How a source is read: the decoder of its pictures, and the order of classes that have names but no numbers.

    With `skip_bad`, pictures that cannot be decoded are skipped with a note; else an error lists them all.
    Pictures are decoded in `threads` threads. `keep` may replace how the pictures of a part are read, for instance by a
    cache. `watch` is called with the progress of the search for pictures that cannot be decoded.
    `none_is_class` says that a folder `none` is a class like any other: an older model may have it.
    """

    decode: Decode
    order: Order = as_people_count
    skip_bad: bool = False
    threads: int = 1
    keep: Callable[[Pictures], Decoded] = _unkept
    watch: Watch = unwatched
    none_is_class: bool = False


@dataclass(frozen=True)
class Memory:
    """How whole arrays are stored: `empty(shape, dtype)` allocates; one above `most` bytes is mapped if possible."""

    empty: Callable[[tuple[int, ...], DTypeLike], np.ndarray]
    most: int


@dataclass(frozen=True)
class Part:
    """One of the parts of a source, of `count` images; `where` names its file in errors.

    `image_shape` is that of an image as it is stored, None for pictures, which are decoded. `labels()` returns the
    labels as they are stored, [N] or [N, 1] (see `as_labels`). `blocks(size, keep)` yields all images, or those where
    `keep`, bool [N], is true, in order, at most `size` at a time: [n, C, H, W], [n, H, W, C] or [n, H, W]. `place(i)`
    is the name of image i in messages. `whole` reads all images as one array, if that is better than the blocks.
    `notes` are messages for the user, `skipped` the pictures that were skipped since they cannot be decoded.
    All raise ImageError if the data is damaged, or was modified since the inspection.
    """

    where: str
    count: int
    image_shape: tuple[int, ...] | None
    labels: Callable[[], np.ndarray]
    blocks: Callable[[int, np.ndarray | None], Iterator[np.ndarray]]
    place: Callable[[int], str]
    whole: Callable[[Memory], np.ndarray] | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Inspected labelled images: `train()`, `test()`, `validation()` open a part, None if there is none.

    A validation part without a test part is the test part. `names` are the classes to which labels refer, if it has
    them. Images without a split are the training part; `is_test` says whether they are nonetheless called a test part
    (`test.npz`), and `by_folder` whether labels are names, as those of folders. `notes` are messages for the user.
    `outliers()` opens examples of what is no class, None if there are none; their labels mean nothing.
    """

    layout: str
    where: str
    train: Callable[[], Part] | None
    test: Callable[[], Part] | None = None
    names: tuple[str, ...] | None = None
    is_test: bool = False
    by_folder: bool = False
    notes: tuple[str, ...] = ()
    validation: Callable[[], Part] | None = None
    outliers: Callable[[], Part] | None = None


def source_of(
    layout: str,
    where: str,
    parts: Mapping[str, Callable[[], Part]],
    names: tuple[str, ...] | None = None,
    *,
    is_test: bool = False,
    by_folder: bool = False,
    notes: tuple[str, ...] = (),
) -> Source:
    """A source with the parts `train`, `validation` and `test`; see Source."""
    test = parts.get("test", parts.get("validation"))
    validation = parts.get("validation") if "test" in parts and "train" in parts else None
    return Source(layout, where, parts.get("train"), test, names, is_test, by_folder, notes, validation)


def load(part: Part, memory: Memory, watch: Watch = unwatched) -> np.ndarray:
    """All images of a part as one array, memory-mapped from its file, read-only, if that is possible.

    `watch` is called with the progress for pictures, which take longer.
    """
    if part.whole is not None:
        return part.whole(memory)
    images: np.ndarray | None = None
    first = 0
    at_once = 1 if part.image_shape is None else max(1, _PIECE_BYTES // max(1, math.prod(part.image_shape)))
    for block in part.blocks(at_once, None):
        if images is None:
            images = memory.empty((part.count, *block.shape[1:]), block.dtype)
        images[first : first + len(block)] = block
        first += len(block)
        if part.image_shape is None:
            watch(first, part.count)
    if images is None:
        raise ImageError(f"{part.where}: contains no images")
    return images


def part_of(images: np.ndarray, labels: np.ndarray, where: str) -> Part:
    """A part in memory: images [N, ...] and labels [N]."""

    def blocks(size: int, keep: np.ndarray | None) -> Iterator[np.ndarray]:
        return kept((images[first : first + size] for first in range(0, len(images), size)), keep)

    return Part(
        where,
        len(images),
        images.shape[1:],
        lambda: labels,
        blocks,
        lambda i: f"{where}[{i}]",
        lambda memory: images,
    )


def kept(blocks: Iterable[np.ndarray], keep: np.ndarray | None) -> Iterator[np.ndarray]:
    """The images in blocks where `keep`, bool [N], is true; all if None."""
    first = 0
    for block in blocks:
        yield block if keep is None else block[keep[first : first + len(block)]]
        first += len(block)


def as_labels(values: np.ndarray, where: str) -> np.ndarray:
    """Convert labels [N] or [N, 1] of any dtype, or one-hot [N, classes], to non-negative int64 [N].

    Raises ImageError for anything else.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    elif values.ndim == 2 and values.dtype.kind in "iufb" and values.size:
        values = _from_one_hot(values, where)
    if values.ndim != 1:
        shape = "x".join(map(str, values.shape))
        raise ImageError(f"{where}: labels of shape {shape}; expected one number per image")
    if values.dtype.kind not in "iufb":
        raise ImageError(f"{where}: labels of dtype {values.dtype}; expected integers")
    with np.errstate(invalid="ignore"):  # NaN and infinity become a number that differs
        whole: np.ndarray[Any, Any] = values.astype(np.int64)
    if not np.array_equal(whole, values):
        i = int(np.argmax(whole != values))
        raise ImageError(f"{where}: label {i} is {values[i]}, not an integer")
    if len(whole) and whole.min() < 0:
        raise ImageError(f"{where}: label {int(np.argmin(whole))} is {whole.min()}; labels are 0 to n-1")
    return whole


def _from_one_hot(values: np.ndarray, where: str) -> np.ndarray:
    is_one = values == 1
    wrong = (is_one.sum(axis=1) != 1) | ((values != 0).sum(axis=1) != 1)
    if wrong.any():
        shape, i = "x".join(map(str, values.shape)), int(wrong.argmax())
        raise ImageError(
            f"{where}: labels of shape {shape}, but row {i} is not one-hot; expected one number per image, or "
            "one-hot rows (images with several classes are not supported)"
        )
    labels: np.ndarray = is_one.argmax(axis=1)
    return labels
