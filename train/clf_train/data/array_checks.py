"""Arrays of images, labels and class names as sources hold them, made what a Dataset holds, or refused.

Letters in shapes: N images, C channels, H height, W width.
"""

from collections.abc import Sequence

import numpy as np

from clf_runtime.datasets.source import as_labels
from clf_runtime.errors import ImageError
from clf_runtime.model.names import names_fault
from clf_train.data import spill
from clf_train.data.dataset import Part
from clf_train.errors import DataError

CHANNELS = (1, 3, 4)


def as_images(part: Part) -> np.ndarray:
    """Return uint8 or float32 [N, C, H, W], a view if the values need no conversion."""
    images, where = part.images, part.where
    given = shape_text(images.shape)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(f"{where}: images of shape {given}; expected N x channels x height x width")
    if images.shape[1] not in CHANNELS:
        if images.shape[3] not in CHANNELS:
            axes = "neither the second nor the last axis is 1, 3 or 4 channels"
            raise DataError(f"{where}: images of shape {given}: {axes}")
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


def either_layout(part: Part) -> str | None:
    """A note if the channels of the images may be on the second or on the last axis, which is rare."""
    shape = part.images.shape
    if len(shape) != 4 or shape[1] not in CHANNELS or shape[3] not in CHANNELS:
        return None
    _, a, b, c = shape
    first, last = (f"{n} channel{'s' * (n > 1)}" for n in (a, c))
    return (
        f"images of shape {shape_text(shape)} are read as {first} of {b}x{c}, the channels first; if they are {last} "
        f"of {a}x{b}, the channels last, pass images.transpose(0, 3, 1, 2)"
    )


def labels_of(part: Part, is_train: bool = False) -> np.ndarray:
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


def check_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Strip class names. Raises DataError, naming `where`, if there are none, or they are invalid."""
    stripped = tuple(name.strip() for name in names)
    if not stripped:
        raise DataError(f"{where}: contains no class names")
    if fault := names_fault(stripped):
        raise DataError(f"{where}: {fault}")
    return stripped


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as messages have it: 3x32x32."""
    return "x".join(str(n) for n in shape)
