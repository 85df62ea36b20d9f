"""Labelled images that test a model on a device: the test part of a source, read a block at a time."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clf_runtime.datasets.class_names import match_names, names_beside
from clf_runtime.datasets.holdout import SPLIT_SEED, TEST_SHARE, hold_out
from clf_runtime.datasets.layouts import open_source
from clf_runtime.datasets.order import like
from clf_runtime.datasets.source import Part, Reading, Source, as_labels
from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import is_of_another_size, size_before, to_batch
from clf_runtime.inputs.pictures import decode_picture
from clf_runtime.model.card import ITEM_BYTES, ModelCard

TEST_BATCH = 500  # images that the export answers at a time, and the evaluation too: the same sums in the same order
_MAX_BLOCK_BYTES = 64 << 20  # of images of a block, for each thread; large ones come in smaller blocks


@dataclass(frozen=True)
class Block:
    """Some images in a row, as the model takes them, their labels, int64 [n], and what to call each in words."""

    images: np.ndarray
    labels: np.ndarray
    places: Sequence[str]


@dataclass(frozen=True)
class Labelled:
    """Labelled images that fit a model: how many of a source are read, and `part`, which of them, in words.

    `notes` are sentences for people.
    """

    source: Source
    opened: Part
    images: int
    part: str
    notes: tuple[str, ...]
    card: ModelCard
    keep: np.ndarray | None
    classes: np.ndarray | None

    @property
    def at_once(self) -> int:
        """How many images are answered at a time, fewer if they are large."""
        image_bytes = math.prod(self.card.image_shape) * ITEM_BYTES[self.card.dtype]
        return max(1, min(TEST_BATCH, _MAX_BLOCK_BYTES // image_bytes))

    def blocks(self, threads: int = 1) -> Iterator[Block]:
        """Yield the images as the model takes them (see `to_batch`), with its own labels, `at_once` for each thread.

        Raises ImageError, naming the image, for one that the model does not take, or a label that it does not know.
        """
        as_they_are = self.card.input == "photo" and self.opened.image_shape is None  # each may have another size
        size = 1 if as_they_are else self.at_once * threads
        try:
            labels = self._labels()
            rows = np.arange(len(labels)) if self.keep is None else np.flatnonzero(self.keep)
            first = 0
            for images in recut(self.opened.blocks(size, self.keep), size):
                places = [self.opened.place(int(i)) for i in rows[first : first + len(images)]]
                images = images.transpose(0, 2, 3, 1) if as_they_are else images
                yield Block(_to_batch(images, places, self.card), labels[rows[first : first + len(images)]], places)
                first += len(images)
        except OSError as error:
            raise ImageError(
                f"{error.filename or self.source.where}: cannot be read: {error.strerror or error}"
            ) from None

    def _labels(self) -> np.ndarray:
        labels = part_labels(self.opened)
        known = len(self.card.names) if self.classes is None else len(self.classes)
        beyond = labels >= known
        if beyond.any():
            i = int(beyond.argmax())
            raise ImageError(f"{self.opened.place(i)}: its label is {labels[i]}, there are {known} classes")
        return labels if self.classes is None else self.classes[labels]


def open_labelled(data: str | os.PathLike[str], card: ModelCard, *, skip_bad: bool = False) -> Labelled:
    """Look at labelled images and choose those that test a model: the test part of their source.

    With `skip_bad` pictures that cannot be read are left out, and `notes` says which.

    Where a source has none, clf-train held a fifth of each class out, and the number of test images on the model's card
    tells whether all images are meant or that fifth; if it fits neither, all are taken, and `notes` says so.
    Raises ImageError if the layout is unknown, or the images or classes are not the model's.
    """

    def decode(picture: bytes, where: str) -> np.ndarray:
        return decode_picture(picture, where, card.image_shape[0], size_before(card), card.picture_geometry)

    try:
        source = open_source(data, Reading(decode, like(card.names), skip_bad))
        names = source.names or names_beside(Path(data))
        classes, remark = match_names(source, names, card.names)
        part, keep, which, doubt = _choose(source, card)
    except OSError as error:
        raise ImageError(f"{error.filename or data}: cannot be read: {error.strerror or error}") from None
    notes = tuple(note for note in (*source.notes, *part.notes, remark, doubt) if note)
    images = part.count if keep is None else int(keep.sum())
    return Labelled(replace(source, where=part.where), part, images, which, notes, card, keep, classes)


def part_labels(part: Part) -> np.ndarray:
    """The labels of a part, int64 [N]. Raises ImageError if they are none, or not one an image."""
    labels = as_labels(part.labels(), part.where)
    if len(labels) != part.count:
        raise ImageError(f"{part.where}: {part.count:,} images, but {len(labels):,} labels")
    return labels


def recut(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same images in blocks of `size`, the last one perhaps of fewer; of none if there are none."""
    held: list[np.ndarray] = []
    for block in blocks:
        held.append(block)
        while sum(map(len, held)) >= size:
            whole = _joined(held)
            yield whole[:size]
            held = [whole[size:]] if len(whole) > size else []  # an empty rest may be of another shape
    if any(map(len, held)):
        yield _joined(held)


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _choose(source: Source, card: ModelCard) -> tuple[Part, np.ndarray | None, str, str | None]:
    """Which images of a source are the test images: their part, bool [N] or None for all, in words, what is in doubt.

    Raises ImageError if the images have another shape than the model's.
    """
    if source.test is not None:
        return _fitting(source.test(), card), None, "the test part", None
    assert source.train is not None
    part = _fitting(source.train(), card)
    if source.is_test:
        return part, None, "the test part", None
    tested = card.parity.images if card.parity else card.test_images
    if tested == part.count:
        return part, None, "all images", None
    try:
        held = hold_out(part_labels(part), TEST_SHARE, SPLIT_SEED)
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        held = np.array([], np.int64)
    if len(held) and len(held) == tested:
        keep = np.zeros(part.count, bool)
        keep[held] = True
        return part, keep, f"the fifth of {part.count:,} images that clf-train holds out", None
    doubt = "it is not known which of these images test the model, so all are taken; trained on some it looks better"
    return part, None, "all images", doubt


def _fitting(part: Part, card: ModelCard) -> Part:
    channels, height, width = card.image_shape
    if part.image_shape is not None and is_of_another_size((part.count, *part.image_shape), np.dtype(np.uint8), card):
        return part  # scaled if its values are uint8, and refused if not
    fitting = [(channels, height, width), (height, width, channels)] + [(height, width)] * (channels == 1)
    if not part.count:
        raise ImageError(f"{part.where}: holds no image")
    if part.image_shape is not None and part.image_shape not in fitting:
        found = "x".join(map(str, (part.count, *part.image_shape)))
        wanted = "x".join(map(str, card.image_shape))
        raise ImageError(f"{part.where}: images of shape {found}, the model wants N x {wanted}")
    return part


def _to_batch(images: np.ndarray, places: Sequence[str], card: ModelCard) -> np.ndarray:
    try:
        return to_batch(images, card, "images")
    except ImageError:
        for image, place in zip(images, places, strict=True):
            to_batch(image, card, place)
        raise
