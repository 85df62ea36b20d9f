"""Labelled images to evaluate a model on a device: the test part of a source, read a block at a time."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clf_runtime.datasets.class_names import match_names, names_beside
from clf_runtime.datasets.folders import NO_CLASS
from clf_runtime.datasets.holdout import SPLIT_SEED, TEST_SHARE, hold_out
from clf_runtime.datasets.layouts import open_source
from clf_runtime.datasets.order import Order, like
from clf_runtime.datasets.source import Part, Reading, Source, Watch, as_labels, unwatched
from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import is_of_another_size, size_before, to_batch
from clf_runtime.inputs.pictures import Room, decode_picture
from clf_runtime.model.card import ModelCard
from clf_runtime.model.records import ITEM_BYTES

TEST_BATCH = 500  # batch size of the export and of the evaluation, so that both sum in the same order
_MAX_BLOCK_BYTES = 64 << 20  # of images per block and thread; large images have smaller blocks


@dataclass(frozen=True)
class Block:
    """Consecutive images as the model takes them, their labels, int64 [n], and the name of each in messages."""

    images: np.ndarray
    labels: np.ndarray
    places: Sequence[str]


@dataclass(frozen=True)
class Labelled:
    """Labelled images for a model: the number that is read of a source, and `part`, which of them, in words.

    `notes` are messages for the user.
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
        """The batch size, smaller if images are large."""
        image_bytes = math.prod(self.card.image_shape) * ITEM_BYTES[self.card.dtype]
        return max(1, min(TEST_BATCH, _MAX_BLOCK_BYTES // image_bytes))

    def blocks(self, threads: int = 1) -> Iterator[Block]:
        """Yield the images as the model takes them (see `to_batch`), with its own labels, `at_once` for each thread.

        Raises ImageError, naming the image, for one that is not valid for the model, or an unknown label.
        """
        as_they_are = self.card.input == "photo" and self.opened.image_shape is None  # of any size
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


def open_labelled(
    data: str | os.PathLike[str],
    card: ModelCard,
    *,
    skip_bad: bool = False,
    threads: int = 1,
    watch: Watch = unwatched,
    order: Order | None = None,
) -> Labelled:
    """Inspect labelled images and choose those to evaluate a model on: the test part of their source.

    With `skip_bad` pictures that cannot be read are skipped, and `notes` says which; `watch` is called with the
    progress of the search for them. Pictures are decoded in `threads` threads, or in one for a model that takes photos:
    they keep their size, and so one at a time is in memory. With `order`, classes are read in it and matched by index,
    whatever they are called: the export reads a source as the training did, which may rename them.

    If a source has no test part, clf-train held out a fifth of each class, and the number of test images on the model's
    card decides between all images and that fifth; if it matches neither, all are used, with a note.
    Raises ImageError if the layout is unknown, or the images or classes are not the model's.
    """

    def decode(picture: bytes, where: str, room: Room) -> np.ndarray:
        return decode_picture(picture, where, card.image_shape[0], size_before(card), card.picture_geometry, room=room)

    threads = 1 if card.input == "photo" else threads
    try:
        by_class = Reading(decode, order or like(card.names), skip_bad, threads, watch=watch)
        source = open_source(data, replace(by_class, none_is_class=NO_CLASS in card.names))
        names = source.names or names_beside(Path(data))
        classes, remark = match_names(source, None if order else names, card.names)
        part, keep, which, doubt = _choose(source, card)
    except OSError as error:
        raise ImageError(f"{error.filename or data}: cannot be read: {error.strerror or error}") from None
    notes = tuple(note for note in (*source.notes, *part.notes, remark, doubt) if note)
    images = part.count if keep is None else int(keep.sum())
    return Labelled(replace(source, where=part.where), part, images, which, notes, card, keep, classes)


def part_labels(part: Part) -> np.ndarray:
    """The labels of a part, int64 [N]. Raises ImageError if they are invalid, or not one per image."""
    labels = as_labels(part.labels(), part.where)
    if len(labels) != part.count:
        raise ImageError(f"{part.where}: {part.count:,} images, but {len(labels):,} labels")
    return labels


def recut(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same images in blocks of `size`, the last one possibly smaller; no block if there are none."""
    held: list[np.ndarray] = []
    for block in blocks:
        held.append(block)
        while sum(map(len, held)) >= size:
            whole = _joined(held)
            yield whole[:size]
            held = [whole[size:]] if len(whole) > size else []  # no empty rest, of another size than the next photo
    if any(map(len, held)):
        yield _joined(held)


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _choose(source: Source, card: ModelCard) -> tuple[Part, np.ndarray | None, str, str | None]:
    """The test images of a source: their part, bool [N] or None for all, a description, and a doubt or None.

    Raises ImageError if the images have another shape than the model's.
    """
    if source.test is not None:
        return _fitting(source.test(), card), None, "the test part", None
    assert source.train is not None
    part = _fitting(source.train(), card)
    if source.is_test:
        return part, None, "the test part", None
    tested = card.parity.images if card.parity else card.test_images
    if card.parity_is_of_training:
        doubt = (
            "the model was trained on all images of its source: if these are among them, their accuracy says nothing "
            "of others (clf-predict --card has the one in folds)"
        )
        return part, None, "all images", doubt
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
    doubt = "cannot tell the test images apart, so all are used; images trained on inflate the accuracy"
    return part, None, "all images", doubt


def _fitting(part: Part, card: ModelCard) -> Part:
    if not part.count:
        raise ImageError(f"{part.where}: contains no images")
    if part.image_shape is None or part.image_shape in _fitting_shapes(card):
        return part
    if is_of_another_size((part.count, *_channels_last(part.image_shape, card)), np.dtype(np.uint8), card):
        return part  # resized if its values are uint8, else refused
    found = "x".join(map(str, (part.count, *part.image_shape)))
    wanted = "x".join(map(str, card.image_shape))
    raise ImageError(f"{part.where}: images of shape {found}, the model expects N x {wanted}")


def _fitting_shapes(card: ModelCard) -> list[tuple[int, ...]]:
    channels, height, width = card.image_shape
    return [(channels, height, width), (height, width, channels)] + [(height, width)] * (channels == 1)


def _channels_last(shape: tuple[int, ...], card: ModelCard) -> tuple[int, ...]:
    """The shape of a stored image of another size than the model's as [h, w, c]; c comes first where both fit.

    The shape itself if it is the model's, or has another number of channels.
    """
    channels = card.image_shape[0]
    if shape in _fitting_shapes(card):
        return shape
    if len(shape) == 2 and channels == 1:
        return (*shape, 1)
    return (*shape[1:], channels) if len(shape) == 3 and shape[0] == channels else shape


def _to_batch(images: np.ndarray, places: Sequence[str], card: ModelCard) -> np.ndarray:
    shape = images.shape[1:]
    if (last := _channels_last(shape, card)) != shape:
        images = images.transpose(0, 2, 3, 1) if len(shape) == 3 else images.reshape(len(images), *last)
    try:
        return to_batch(images, card, "images")
    except ImageError:
        for image, place in zip(images, places, strict=True):
            to_batch(image, card, place)
        raise
