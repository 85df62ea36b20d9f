"""Pictures, decoded by Pillow, and those that a caller has opened with it: upright, 8 bits a channel, RGB or grey.

Pillow warns of what is odd, and `warnings.catch_warnings` would silence every thread of the process
(https://docs.python.org/3/library/warnings.html#warnings.catch_warnings), so it is not led there: the orientation is
read here, and what else is in a JPEG's EXIF is kept from it; the size and alpha are looked at here too.
"""

import io
import math
import struct
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeGuard

import numpy as np

from clf_runtime.errors import ImageError, MissingExtraError, brief
from clf_runtime.inputs.geometry import to_input
from clf_runtime.inputs.picture_formats import JPEG, LOOK, NAMES, format_of, image_file
from clf_runtime.model.geometry import UNSTATED, Geometry

MAX_FILE_BYTES = 64 << 20  # of a picture
MAX_PIXELS = 50_000_000  # of a picture once decoded
_START_OF_SCAN, _APP1, _EXIF = b"\xda", b"\xe1", b"Exif\0\0"
_ORIENTATION = 0x0112
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}  # types of TIFF, as struct has them
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
_16_BIT_AS_32 = ("PNG", "PPM")  # formats whose 16 bits Pillow may keep in 32: PNG before 10.3, PGM

Picture = Any  # PIL.Image.Image, of a package that need not be there

Room = Callable[[int], AbstractContextManager[object]]
"""Waits until there is memory for so many pixels, and holds it while its block lasts; see parallel."""


def is_picture(image: object) -> TypeGuard[Picture]:
    """Whether this is a picture of Pillow's, which is not imported for the question."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def decode_picture(
    data: bytes,
    where: str,
    channels: int,
    size: tuple[int, int] | None = None,
    geometry: Geometry = UNSTATED,
    note: Callable[[str], object] = lambda text: None,
    room: Room = nullcontext,
    measured: Callable[[tuple[int, int]], object] = lambda size: None,
) -> np.ndarray:
    """Decode a picture of a known format into uint8 [height, width, channels], upright, in RGB order or grey.

    With `size` (height, width) the picture becomes so large as its `geometry` says. 16 bits a channel lose the lower
    eight. Of a moving picture or one of several pages the first is taken, and `note` is told so. `room` is asked for
    memory once the size is known, and `measured` is told the (height, width) that `picture_size` gives.
    Raises ImageError if it is damaged, too large, or of a kind that has no 8-bit form.
    """
    try:
        picture, turned, known = _open(data, where, channels)
        measured(_upright(picture, turned))
        if getattr(picture, "is_animated", False):
            note(f"{where}: holds several pictures: the first is taken")
        with room(math.prod(picture.size)):
            return _decode(picture, turned, known, channels, size, geometry)
    except (ImageError, MissingExtraError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise ImageError(f"{where}: does not decode: {brief(error, 120)}") from None


def picture_size(data: bytes, where: str) -> tuple[int, int]:
    """The (height, width) of a picture, upright, by its header. Raises ImageError if it has none that is read."""
    try:
        picture, turned, _ = _open(data, where, 3)
        return _upright(picture, turned)
    except (ImageError, MissingExtraError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"{where}: does not decode: {brief(error, 120)}") from None


def _upright(picture: Picture, turned: int | None) -> tuple[int, int]:
    """The (height, width) of an opened picture once it is upright."""
    turned = turned or _orientation(picture.info.get("exif") or b"")
    width, height = picture.size
    return (width, height) if turned in (5, 6, 7, 8) else (height, width)


def _decode(
    picture: Picture, turned: int | None, known: str, channels: int, size: tuple[int, int] | None, geometry: Geometry
) -> np.ndarray:
    """Decode an opened picture. Raises what its plugin raises."""
    picture.load()
    turned = turned or _orientation(picture.info.pop("exif", None) or b"")
    if turned is not None:
        picture.info["exif"] = _EXIF + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _ORIENTATION, 3, 1, turned, 0, 0)
    from PIL import ImageOps

    ImageOps.exif_transpose(picture, in_place=True)  # without a copy: pixels take 4 bytes in Pillow
    return to_input(_to_8_bits(picture, known), channels, size, geometry)


def _open(data: bytes, where: str, channels: int) -> tuple[Picture, int | None, str]:
    """Open a picture by the plugin of its format: its pixels are not decoded, a JPEG's orientation is read already.

    Returns the picture, the orientation, and the name of the format. Raises ImageError, and what the plugin raises.
    """
    known = format_of(data[:LOOK])
    if known is None:
        raise ImageError(f"{where}: not a picture: it begins as none of {NAMES}")
    try:
        opened = image_file(known)
    except ImportError:
        what = "Pillow" if known.extra == "images" else f"a plugin of Pillow for {known.name}"
        raise MissingExtraError(f'{where}: {known.name} needs {what}: pip install "clf-edge[{known.extra}]"') from None
    data, exif = _without_exif(data) if known is JPEG else (data, b"")
    # Not Image.open, which warns of a size that is refused below, and of what follows a JPEG's first picture.
    picture = opened(io.BytesIO(data))
    _check(picture, where, channels)
    return picture, _orientation(exif), known.name


def to_pixels(
    picture: Picture,
    where: str,
    channels: int,
    size: tuple[int, int] | None = None,
    geometry: Geometry = UNSTATED,
) -> np.ndarray:
    """Do what `decode_picture` does with a picture that Pillow has opened, of any format; it stays as it is."""
    from PIL import ImageOps

    _check(picture, where, channels)
    try:
        upright = _to_8_bits(ImageOps.exif_transpose(picture), picture.format or "")
        return to_input(upright, channels, size, geometry)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"{where}: does not decode: {brief(error, 120)}") from None


def _check(picture: Picture, where: str, channels: int) -> None:
    if channels not in (1, 3):
        raise ImageError(f"{where}: a picture has 1 or 3 channels, the model takes {channels}; give it .npy arrays")
    pixels = math.prod(picture.size)
    if pixels > MAX_PIXELS:
        raise ImageError(f"{where}: {pixels:,} pixels; the most that is read is {MAX_PIXELS:,}")
    is_16_bit = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in _16_BIT_AS_32)
    if picture.mode not in _MODES and not is_16_bit:
        raise ImageError(f"{where}: pixels of kind {picture.mode} are not read; save it with 8 bits a channel")


def _to_8_bits(picture: Picture, name: str) -> Picture:
    """The picture, of 16 bits a channel the upper eight, as Pillow itself takes them of RGB."""
    if not picture.mode.startswith("I"):
        return picture
    from PIL import Image

    values = np.asarray(picture)
    if name in _16_BIT_AS_32:
        np.clip(values, 0, 0xFFFF, out=(values := values.copy()))
    return Image.fromarray((values >> 8).astype(np.uint8))


def _without_exif(jpeg: bytes) -> tuple[bytes, bytes]:
    """A JPEG without its segments of EXIF (ITU-T T.81, B.1.1), and what the first of them holds."""
    kept, exif, at = [jpeg[:2]], b"", 2
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] not in (b"", b"\xff", _START_OF_SCAN):
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1 : at + 2] == _APP1 and jpeg.startswith(_EXIF, at + 4):
            exif = exif or jpeg[at + 4 : end]
        else:
            kept.append(jpeg[at:end])
        at = end
    return (b"".join([*kept, jpeg[at:]]) if exif else jpeg), exif


def _orientation(exif: bytes) -> int | None:
    """The tag Orientation of EXIF, which is built as a TIFF file is; None if it has none, or is damaged before it."""
    tiff = exif.removeprefix(_EXIF)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    with suppress(struct.error):
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, numbers = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == _ORIENTATION and kind in _WHOLE_NUMBERS and numbers == 1:
                (value,) = struct.unpack_from(order + _WHOLE_NUMBERS[kind], tiff, entry + 8)
                return value if 1 <= value <= 8 else None
    return None
