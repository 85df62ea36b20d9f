"""Single images of any kind, as callers give them, gathered into blocks of what the model takes."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from clf_runtime.bounded import as_path
from clf_runtime.errors import ImageError, called
from clf_runtime.inputs.arrays import MAX_BLOCK_BYTES, read_images, to_batch
from clf_runtime.model.card import ITEM_BYTES, ModelCard

_UINT8 = np.dtype(np.uint8)


def as_single(image: ArrayLike | str | os.PathLike[str], card: ModelCard, where: str) -> np.ndarray:
    """One image, an array or the path of a file of one, as the model takes it (see `to_batch`): [1, ...].

    Raises what `read_images` and `to_batch` raise, and ImageError if it is none or several.
    """
    if isinstance(image, str | os.PathLike):
        where = as_path(image)
        blocks = read_images(where, card)
        first, found = next(blocks)
        if (first is not None and len(found) > 1) or next(blocks, None) is not None:
            raise ImageError(f"{where}: more than one image where one is wanted: use predict_file")
        return to_batch(found, card, where)
    batch = to_batch(image, card, where)
    if len(batch) != 1:
        count = f"{len(batch):,} images where one is wanted: use predict_batch" if len(batch) else "holds no image"
        raise ImageError(f"{where}: {count}")
    return batch


def gather(images: Iterable[ArrayLike | str | os.PathLike[str]], card: ModelCard, at_once: int) -> Iterator[np.ndarray]:
    """Yield single images as blocks of up to `at_once`, fewer if they are large; a block lasts until the next one.

    Raises ImageError that names `images[i]`, i counted over all, for what is no image for this model.
    """
    channels, height, width = card.image_shape
    sizes = (height, width, channels) if card.layout == "NHWC" else card.image_shape
    ready = sizes if (card.dtype, card.layout) == ("uint8", "NCHW") else None
    at_once = max(1, min(at_once, MAX_BLOCK_BYTES // (math.prod(sizes) * ITEM_BYTES[card.dtype])))
    block, held = np.empty((at_once, *sizes), card.dtype), 0
    if not isinstance(images, Iterable) or isinstance(images, bytes | bytearray | Mapping) or hasattr(images, "read"):
        raise ImageError(f"images: {called(images)} where an array or several images are wanted")
    for i, image in enumerate(images):
        if type(image) is np.ndarray and image.dtype is _UINT8 and image.shape == ready:
            block[held] = image
        elif isinstance(image, str | os.PathLike):
            try:
                block[held] = as_single(image, card, "")
            except ImageError as error:
                raise ImageError(f"images[{i}]: {error}") from None
        else:
            block[held] = as_single(image, card, f"images[{i}]")
        held += 1
        if held == at_once:
            yield block
            held = 0
    if held:
        yield block[:held]
