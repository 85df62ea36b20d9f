"""Labelled images on a device, told apart by looking at the files, never by a flag, and read a block at a time.

Each module reads one layout: `recognises(path)` looks, `look(path)` gives the Source. What they know is what a device
can read with numpy: `.npz`, the binary version of CIFAR-10, and class-named folders of pictures.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clf_runtime.datasets import cifar10, folders, npz
from clf_runtime.datasets.holdout import SPLIT_SEED, TEST_SHARE, hold_out
from clf_runtime.datasets.source import Block, Source, match_names
from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import to_batch
from clf_runtime.model.card import ITEM_BYTES, ModelCard

TEST_BATCH = 500  # images that the export answers at a time, and the evaluation too: the same sums in the same order
_MAX_BLOCK_BYTES = 64 << 20  # of images of a block, for each thread; large ones come in smaller blocks
_KNOWN = (
    "known are: .npz with images and labels; the CIFAR-10 binary version, its folder or test_batch.bin; class-named "
    "folders of PNG or JPEG, perhaps below test/"
)


@dataclass(frozen=True)
class Labelled:
    """Labelled images that fit a model: how many of a source are read, and `part`, which of them, in words.

    `notes` are sentences for people.
    """

    source: Source
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
        try:
            for block in self.source.blocks(self.at_once * threads, self.keep):
                yield self._prepared(block)
        except OSError as error:
            raise ImageError(
                f"{error.filename or self.source.where}: cannot be read: {error.strerror or error}"
            ) from None

    def _prepared(self, block: Block) -> Block:
        known = len(self.card.names) if self.classes is None else len(self.classes)
        beyond = block.labels >= known
        if beyond.any():
            i = int(beyond.argmax())
            raise ImageError(f"{block.places[i]}: its label is {block.labels[i]}, there are {known} classes")
        labels = block.labels if self.classes is None else self.classes[block.labels]
        return replace(block, images=_to_batch(block, self.card), labels=labels)


def open_labelled(path: str | os.PathLike[str], card: ModelCard) -> Labelled:
    """Look at labelled images and choose those that test a model: the test part of their source.

    Where a source has none, clf-train held a fifth of each class out, and the number of test images on the model's card
    tells whether all images are meant or that fifth; if it fits neither, all are taken, and `notes` says so.
    Raises ImageError if the layout is unknown, or the images or classes are not the model's.
    """
    path = Path(path)
    try:
        source = _look(path, card)
        classes, remark = match_names(source, card.names)
        keep, part, doubt = _choose(source, card)
    except OSError as error:
        raise ImageError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None
    notes = tuple(note for note in (remark, doubt) if note)
    images = source.images if keep is None else int(keep.sum())
    return Labelled(source, images, part, notes, card, keep, classes)


def _look(path: Path, card: ModelCard) -> Source:
    if not os.path.exists(path):  # unlike Path.exists it raises for no path whatever
        raise ImageError(f"{path}: no such file or folder")
    if npz.recognises(path):
        return npz.look(path, card)
    for folder in (path, path / cifar10.FOLDER):
        if cifar10.recognises(folder):
            return cifar10.look(folder)
    if folders.recognises(path):
        return folders.look(path, card)
    raise ImageError(f"{path}: no layout that is known; {_KNOWN}")


def _choose(source: Source, card: ModelCard) -> tuple[np.ndarray | None, str, str | None]:
    """Which images of a source are the test images, bool [N] or None for all; in words; and what is in doubt."""
    if source.is_test_part:
        return None, "the test part", None
    tested = card.parity.images if card.parity else card.test_images
    if tested == source.images:
        return None, "all images", None
    labels = source.labels()
    try:
        held = hold_out(labels, TEST_SHARE, SPLIT_SEED)
    except ValueError:
        held = np.array([], np.int64)
    if len(held) and len(held) == tested:
        keep = np.zeros(source.images, bool)
        keep[held] = True
        return keep, f"the fifth of {source.images:,} images that clf-train holds out", None
    doubt = "it is not known which of these images test the model, so all are taken; trained on some it looks better"
    return None, "all images", doubt


def _to_batch(block: Block, card: ModelCard) -> np.ndarray:
    try:
        return to_batch(block.images, card, "images")
    except ImageError:
        for image, place in zip(block.images, block.places, strict=True):
            to_batch(image, card, place)
        raise
