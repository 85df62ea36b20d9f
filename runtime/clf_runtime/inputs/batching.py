"""Convert images as callers pass them, arrays and paths, to the batches that a model takes."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from clf_runtime.bounded import as_path
from clf_runtime.errors import ImageError, called
from clf_runtime.inputs.arrays import MAX_BLOCK_BYTES, to_batch
from clf_runtime.inputs.files import read_images
from clf_runtime.model.card import ModelCard
from clf_runtime.model.records import ITEM_BYTES

Image = ArrayLike | str | os.PathLike[str]
_UINT8 = np.dtype(np.uint8)


def takes_as_is(card: ModelCard) -> tuple[int, int, int] | None:
    """The shape of a uint8 image that goes to the model without any check; None if the model takes no such image."""
    return card.input_shape if (card.dtype, card.layout) == ("uint8", "NCHW") else None


def to_batch_of_one(image: Image, card: ModelCard, where: str) -> np.ndarray:
    """Convert one image, an array or the path of a file with one, to the model's input (see `to_batch`): [1, ...].

    Raises what `read_images` and `to_batch` raise, and ImageError if it is none or several.
    """
    if isinstance(image, str | os.PathLike):
        where = as_path(image)
        blocks = read_images(where, card)
        first, found = next(blocks)
        if (first is not None and len(found) > 1) or next(blocks, None) is not None:
            raise ImageError(f"{where}: more than one image, expected one; use predict_file")
        return to_batch(found, card, where)
    batch = to_batch(image, card, where)
    if len(batch) != 1:
        count = f"{len(batch):,} images, expected one; use predict_batch" if len(batch) else "contains no image"
        raise ImageError(f"{where}: {count}")
    return batch


def to_batches(images: Iterable[Image], card: ModelCard, batch_size: int) -> Iterator[np.ndarray]:
    """Yield single images in batches of up to `batch_size`, fewer if they are large; each is valid until the next one.

    For a model that takes photos, of any size, each is a batch of its own.
    Raises ImageError, naming `images[i]` by the overall index i, for what is not an image for this model.
    """
    if not isinstance(images, Iterable) or isinstance(images, bytes | bytearray | Mapping) or hasattr(images, "read"):
        raise ImageError(f"images: {called(images)}; expected an array or several images")
    if card.input == "photo":
        yield from (_numbered(image, card, i) for i, image in enumerate(images))
        return
    as_is = takes_as_is(card)
    batch_size = max(1, min(batch_size, MAX_BLOCK_BYTES // (math.prod(card.input_shape) * ITEM_BYTES[card.dtype])))
    batch, held = np.empty((batch_size, *card.input_shape), card.dtype), 0
    for i, image in enumerate(images):
        if type(image) is np.ndarray and image.dtype is _UINT8 and image.shape == as_is:
            batch[held] = image
        else:
            batch[held] = _numbered(image, card, i)
        held += 1
        if held == batch_size:
            yield batch
            held = 0
    if held:
        yield batch[:held]


def _numbered(image: Image, card: ModelCard, i: int) -> np.ndarray:
    """Do what `to_batch_of_one` does with one of several."""
    if not isinstance(image, str | os.PathLike):
        return to_batch_of_one(image, card, f"images[{i}]")
    try:
        return to_batch_of_one(image, card, "")
    except ImageError as error:
        raise ImageError(f"images[{i}]: {error}") from None
