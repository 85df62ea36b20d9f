"""The one function that resizes a picture of any size to the input of a model, in training and on the device.

Pillow does the arithmetic, with integers, so that the same picture gives the same pixels on every machine.
"""

from typing import Any

import numpy as np

from clf_runtime.errors import MissingExtraError
from clf_runtime.model.geometry import Geometry, box, inside

Picture = Any  # PIL.Image.Image, of an optional package


def to_input(picture: Picture, channels: int, size: tuple[int, int] | None, geometry: Geometry) -> np.ndarray:
    """Resize an upright picture with 8 bits per channel to the input: uint8 [height, width, channels], RGB or grey.

    `size` is (height, width); None keeps the picture's own, and `fit` has no effect.
    """
    from PIL import Image

    picture = _flatten(picture, "L" if channels == 1 else "RGB", geometry)
    if size is not None and (picture.height, picture.width) != size:
        height, width = size
        here = (picture.height, picture.width)
        if geometry.fit == "pad":
            high, wide = inside(here, size)
            ground = Image.new("RGB", (width, height), geometry.background).convert(picture.mode)
            ground.paste(_scale(picture, wide, high), ((width - wide) // 2, (height - high) // 2))
            picture = ground
        else:
            if geometry.fit == "crop":
                top, left, high, wide = box(here, size)
                picture = picture.crop((left, top, left + wide, top + high))
            picture = _scale(picture, width, height)
    pixels: np.ndarray = np.asarray(picture).reshape(picture.height, picture.width, channels)
    return pixels


def _scale(picture: Picture, width: int, height: int) -> Picture:
    """The picture at another size: its rows scaled first, and then its columns.

    Each pass rounds to whole numbers, so that the order shows by a step in up to a quarter of the values. Pillow before
    13 has this one; 13 takes the other for a picture whose height shrinks by more than twice what its width does.
    """
    from PIL import Image

    for size in ((width, picture.height), (width, height)):
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
    return picture


def _flatten(picture: Picture, mode: str, geometry: Geometry) -> Picture:
    """The picture in RGB or grey, transparency composited onto the background."""
    from PIL import Image

    if geometry.background is not None and (
        picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    ):
        layers = picture.convert("RGBA")
        picture = Image.new("RGB", layers.size, geometry.background)
        picture.paste(layers, mask=layers)
    picture.info.pop("transparency", None)
    return picture if picture.mode == mode else picture.convert(mode)


def array_to_input(pixels: np.ndarray, channels: int, size: tuple[int, int] | None, geometry: Geometry) -> np.ndarray:
    """Do what `to_input` does with pixels uint8 [h, w], [h, w, 1], [h, w, 3] (RGB) or [h, w, 4] (RGBA).

    Raises MissingExtraError without Pillow.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError(
            f'{"flattening" if size is None else "scaling"} an array needs Pillow: pip install "clf-edge[images]"'
        ) from None
    pixels = np.ascontiguousarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    return to_input(Image.fromarray(pixels), channels, size, geometry)
