"""Convert arrays of images, in either layout and any suitable dtype, to the input of a model.

What is unambiguous is converted (uint8 for floats in [0, 1] and back); what could be a mistake is refused with the
range that the model expects, since a wrong range gives a confident wrong prediction.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from clf_runtime.errors import ImageError
from clf_runtime.inputs.array_like import as_array
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.inputs.npy import NpyHeader
from clf_runtime.inputs.pictures import MAX_PIXELS, is_picture, to_pixels
from clf_runtime.model.card import ModelCard

MAX_ARRAY_BYTES = 256 << 20  # of what cannot be read in blocks: one image, or a batch in Fortran order
MAX_BLOCK_BYTES = 32 << 20
BLOCK = 256  # images that are read at a time, fewer if they are large

_FIXED_RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))


def check_header(header: NpyHeader, card: ModelCard, where: str) -> bool:
    """Whether an array is a batch. Raises ImageError if it contains no images for this model or no numbers."""
    if is_of_another_size(header.shape, header.dtype, card):
        return len(header.shape) == 4
    is_batch, _ = _layout(header.shape, card, where)
    if header.shape[0] == 0:
        raise ImageError(f"{where}: contains no image (shape {_x(header.shape)})")
    if header.dtype.kind not in "biuf":
        raise ImageError(f"{where}: values of dtype {str(header.dtype)[:20]}; {_wants(card)}")
    return is_batch


def to_batch(images: ArrayLike, card: ModelCard, where: str = "image") -> np.ndarray:
    """Convert one image or a batch to the model's input: its dtype and layout, [batch, channels, height, width].

    `images` is [channels, height, width] or [height, width, channels], or a batch of either, perhaps an empty one; for
    a model of one channel the channel axis may be absent. Channels come first where both fit, as they do for a model
    of 3x3x3. A picture of Pillow is treated like its file, and so are the pixels of one, uint8
    [height, width, channels] of another size, if the card has a geometry. Dtypes: that of the model; integers in
    0..255 for a model of uint8, or of floats in [0, 1] or [0, 255]; floats in [0, 1] for a model of uint8 (times 255,
    rounded).
    For a model that takes photos the result is uint8 [batch, height, width, 1 or 3], of the model's size, or of that of
    the picture or pixels.
    Raises ImageError, naming `where` and the first invalid image, for any other shape, dtype or range, for NaN, and
    for masked values.
    """
    if is_picture(images):
        images = to_pixels(images, where, card.image_shape[0], size_before(card), card.picture_geometry)
        images = images if card.input == "photo" else images.transpose(2, 0, 1)
    images = as_array(images, where)
    if is_of_another_size(images.shape, images.dtype, card):
        if card.input == "photo":
            return _to_photos(images, card, where)
        images = _to_size(images, card, where)
    is_batch, is_hwc = _layout(images.shape, card, where)
    if not is_batch:
        images = images[None]
    if images.ndim == 3:
        images = images[:, None]
    elif is_hwc:
        images = images.transpose(0, 3, 1, 2)
    values = _to_model_values(images, card, (lambda i: f"{where}[{i}]") if is_batch else (lambda _: where))
    if card.layout == "NHWC":
        values = values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(values)


def size_before(card: ModelCard) -> tuple[int, int] | None:
    """The (height, width) that a picture is resized to before the model; None if the graph resizes it."""
    _, height, width = card.image_shape
    return None if card.input == "photo" else (height, width)


def is_of_another_size(shape: tuple[int, ...], dtype: np.dtype, card: ModelCard) -> bool:
    """Whether an array is the pixels of a picture, or a batch of them, that the card's geometry resizes."""
    channels = card.image_shape[0]
    if card.geometry is None or channels not in (1, 3) or dtype != np.uint8 or 0 in shape:
        return False
    if _fitting(shape, card) is not None:
        return False
    return (len(shape) in (3, 4) and shape[-1] in (1, 3, 4)) or (len(shape) == 2 and channels == 1)


def _to_size(images: np.ndarray, card: ModelCard, where: str) -> np.ndarray:
    """Resize pixels uint8 [h, w], [h, w, c] or [n, h, w, c] by the card's geometry to [channels, H, W] or a batch."""
    _refuse_too_large(images, where)
    channels, size = card.image_shape[0], size_before(card)
    scaled = [
        array_to_input(image, channels, size, card.picture_geometry)
        for image in (images if images.ndim == 4 else images[None])
    ]
    return np.stack(scaled).transpose(0, 3, 1, 2) if images.ndim == 4 else scaled[0].transpose(2, 0, 1)


def _to_photos(images: np.ndarray, card: ModelCard, where: str) -> np.ndarray:
    """Pixels uint8 [h, w], [h, w, c] or [n, h, w, c] for a graph that resizes: [n, h, w, 1 or 3]."""
    _refuse_too_large(images, where)
    images = images[:, :, None] if images.ndim == 2 else images
    images = images if images.ndim == 4 else images[None]
    if images.shape[3] == 4:  # transparency is composited onto the background
        images = np.stack([array_to_input(image, 3, None, card.picture_geometry) for image in images])
    return np.ascontiguousarray(images)


def _refuse_too_large(images: np.ndarray, where: str) -> None:
    pixels = math.prod(images.shape[:2] if images.ndim < 4 else images.shape[1:3])
    if pixels > MAX_PIXELS:
        raise ImageError(f"{where}: {pixels:,} pixels exceed the limit of {MAX_PIXELS:,}")


def _layout(shape: tuple[int, ...], card: ModelCard, where: str) -> tuple[bool, bool]:
    """Whether an array of this shape is a batch, and whether its channels come last. Raises ImageError."""
    found = _fitting(shape, card)
    if found is None:
        channels, height, width = card.image_shape
        expected = f"{_x(card.image_shape)} or {_x((height, width, channels))}, or a batch of them"
        other = "; or uint8 [height, width, 3] of any size" * (card.geometry is not None)
        raise ImageError(f"{where}: shape {_x(shape)}, the model expects {expected}{other}")
    return found


def _fitting(shape: tuple[int, ...], card: ModelCard) -> tuple[bool, bool] | None:
    """For an array of the model's input size: whether it is a batch, and whether its channels come last; else None."""
    chw = card.image_shape
    hwc = (*chw[1:], chw[0])
    if shape == chw or shape[1:] == chw:
        return shape != chw, False
    if shape == hwc or shape[1:] == hwc:
        return shape != hwc, True
    if chw[0] == 1 and (shape == chw[1:] or shape[1:] == chw[1:]):
        return shape != chw[1:], False
    return None


def _to_model_values(nchw: np.ndarray, card: ModelCard, label: Callable[[int], str]) -> np.ndarray:
    """Convert the values of [n, channels, height, width], or refuse the first image that is not valid for the model."""
    dtype, (low, high) = nchw.dtype, card.value_range
    wants = _wants(card)
    if dtype == np.uint8 and card.dtype == "uint8":
        return nchw
    if dtype.kind in "iu":
        if dtype != np.uint8:
            _refuse(nchw, (nchw < 0) | (nchw > 255), label, f"{dtype} values outside 0..255; {wants}")
        if card.dtype == "uint8":
            return nchw.astype(np.uint8)
        if (low, high) == (0, 1):
            return nchw.astype(np.float32) / np.float32(255)
        if (low, high) == (0, 255):
            return nchw.astype(np.float32)
        raise ImageError(f"{label(0)}: {dtype} values; {wants}")
    if dtype.kind != "f":
        raise ImageError(f"{label(0)}: values of dtype {str(dtype)[:60]}; {wants}")
    _refuse(nchw, ~np.isfinite(nchw), label, f"a value that is NaN or infinite; {wants}")
    if card.dtype == "uint8":
        _refuse(nchw, (nchw < -1e-3) | (nchw > 1 + 1e-3), label, f"floats outside 0..1; {wants}, or floats in 0..1")
        return np.clip(np.rint(nchw.astype(np.float32) * 255), 0, 255).astype(np.uint8)
    # A fixed range is exact except for rounding; one that was observed in the training images may be exceeded a little.
    slack = (1e-3 if card.value_range in _FIXED_RANGES else 0.25) * (high - low)
    _refuse(nchw, (nchw < low - slack) | (nchw > high + slack), label, f"values outside the model's range; {wants}")
    if (low, high) == (0, 255):
        peak = nchw.max(axis=(1, 2, 3), keepdims=True)
        _refuse(nchw, (peak > 0) & (peak <= 1), label, f"no value above 1, so probably scaled to 0..1; {wants}")
    return nchw.astype(np.float32, copy=False)


def _wants(card: ModelCard) -> str:
    low, high = card.value_range
    return f"the model expects {card.dtype} in {low:g}..{high:g}"


def _refuse(nchw: np.ndarray, wrong: np.ndarray, label: Callable[[int], str], problem: str) -> None:
    if wrong.any():
        i = int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1)))
        finite = nchw[i][np.isfinite(nchw[i])]
        found = f" (found {finite.min():g}..{finite.max():g})" if finite.size else ""
        raise ImageError(f"{label(i)}: {problem}{found}")


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape) or "of a single number"
