"""What every reader of labelled images gives: a Source of one or two Parts, looked at but not yet read."""

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
"""Makes uint8 [height, width, channels] of the bytes of a picture and its name, as the reader's caller wants it.

Several threads may call it; the room is `decode_picture`'s. Raises ImageError for a picture that cannot be read.
"""

Decoded = Callable[[Sequence[int]], Iterator[np.ndarray | ImageError]]
"""The pictures of these numbers, ascending: each decoded, uint8 [channels, height, width], or what is wrong with it."""

Watch = Callable[[int, int], object]
"""Is told how many pictures of how many have been read."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of a part before they are read: how many, and the files that they lie in.

    `place(i)` is what to call picture i, and `decoded` reads them.
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
    """How a source is read: what decodes its pictures, and the order of classes that have names but no numbers.

    With `skip_bad`, pictures that cannot be read are left out, and said; else they are an error that names them all.
    So many `threads` decode at a time. `keep` may give another way to the pictures of a part, such as one that keeps
    what was decoded. `watch` is told of the search for pictures that cannot be read.
    """

    decode: Decode
    order: Order = as_people_count
    skip_bad: bool = False
    threads: int = 1
    keep: Callable[[Pictures], Decoded] = _unkept
    watch: Watch = unwatched


@dataclass(frozen=True)
class Memory:
    """Where whole arrays lie: `empty(shape, dtype)` gives room; one above `most` bytes is mapped if it can be."""

    empty: Callable[[tuple[int, ...], DTypeLike], np.ndarray]
    most: int


@dataclass(frozen=True)
class Part:
    """One of the parts of a source, of `count` images; `where` names its file in errors.

    `image_shape` is that of an image as it lies there, None for pictures, which are decoded. `labels()` gives the
    labels as they lie there, [N] or [N, 1] (see `as_labels`). `blocks(size, keep)` yields all images, or those where
    `keep`, bool [N], is true, in order, at most `size` at a time: [n, C, H, W], [n, H, W, C] or [n, H, W]. `place(i)`
    is what to call image i. `whole` is a better way to all images as one array than the blocks, if there is one.
    `notes` are sentences for people, `skipped` the pictures that were left out since they cannot be read.
    All raise ImageError for what is damaged, or has changed since it was looked at.
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
    """Labelled images in a layout, looked at: `train()`, `test()`, `validation()` open a part, None if there is none.

    A validation part that comes without a test part is the test part. `names` are the classes by which labels count, if
    it names them. Images that nobody has split are the training part; `is_test` tells whether they are nonetheless
    called a test part (`test.npz`), and `by_folder` whether labels are names, as those of folders. `notes` are
    sentences for people.
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
    """A source of parts that are called `train`, `validation` and `test`; see Source."""
    test = parts.get("test", parts.get("validation"))
    validation = parts.get("validation") if "test" in parts and "train" in parts else None
    return Source(layout, where, parts.get("train"), test, names, is_test, by_folder, notes, validation)


def load(part: Part, memory: Memory, watch: Watch = unwatched) -> np.ndarray:
    """All images of a part as one array, mapped from its file where that is possible, read-only then.

    `watch` is told of pictures, which take their time.
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
        raise ImageError(f"{part.where}: holds no image")
    return images


def part_of(images: np.ndarray, labels: np.ndarray, where: str) -> Part:
    """A part that has been read: images [N, ...] and labels [N] in memory."""

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
    """Of blocks of images those where `keep`, bool [N], is true; all without."""
    first = 0
    for block in blocks:
        yield block if keep is None else block[keep[first : first + len(block)]]
        first += len(block)


def as_labels(values: np.ndarray, where: str) -> np.ndarray:
    """Whole numbers from 0 up as int64 [N], of [N] or [N, 1] of any dtype, or of rows with a single 1, [N, classes].

    Raises ImageError for all else.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    elif values.ndim == 2 and values.dtype.kind in "iufb" and values.size:
        values = _from_one_hot(values, where)
    if values.ndim != 1:
        shape = "x".join(map(str, values.shape))
        raise ImageError(f"{where}: labels of shape {shape}; wanted: one number an image")
    if values.dtype.kind not in "iufb":
        raise ImageError(f"{where}: labels of dtype {values.dtype}; wanted: whole numbers")
    with np.errstate(invalid="ignore"):  # NaN and infinity become some number, and then differ from it
        whole: np.ndarray[Any, Any] = values.astype(np.int64)
    if not np.array_equal(whole, values):
        i = int(np.argmax(whole != values))
        raise ImageError(f"{where}: label {i} is {values[i]}, not a whole number")
    if len(whole) and whole.min() < 0:
        raise ImageError(f"{where}: label {int(np.argmin(whole))} is {whole.min()}; labels are 0 to n-1")
    return whole


def _from_one_hot(values: np.ndarray, where: str) -> np.ndarray:
    is_one = values == 1
    wrong = (is_one.sum(axis=1) != 1) | ((values != 0).sum(axis=1) != 1)
    if wrong.any():
        shape, i = "x".join(map(str, values.shape)), int(wrong.argmax())
        raise ImageError(
            f"{where}: labels of shape {shape}, of which row {i} is not zeros with a single 1; wanted: one number an "
            "image, or one class of each row (an image of several classes is not learnt)"
        )
    labels: np.ndarray = is_one.argmax(axis=1)
    return labels
