"""Dataset: labelled images of one shape, from any layout; assembly.py makes one, sources.py reads what it is made of.

Letters in shapes: N images, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from clf_runtime.model.geometry import USUAL, Geometry


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
    of the images themselves, as of folders, and not only of their numbers. `outliers` are examples of what is no class.
    """

    layout: str
    train: Part
    test: Part | None = None
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    validation: Part | None = None
    skipped: tuple[str, ...] = ()
    by_folder: bool = False
    outliers: Part | None = None


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
    `outliers`, [M, C, H, W], are the source's examples of what is no class, None if it has none, or if they were not
    asked for.
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
    outliers: np.ndarray | None = None

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
