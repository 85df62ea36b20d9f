"""Decode pictures with Pillow, or take those that a caller has opened: upright, 8 bits per channel, RGB or grey.

Pillow warns about oddities, and `warnings.catch_warnings` would affect every thread of the process
(https://docs.python.org/3/library/warnings.html#warnings.catch_warnings), so that is avoided: the orientation is read
here, and the rest of a JPEG's EXIF is hidden from Pillow; size and alpha are checked here too.
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
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}  # TIFF types as struct formats
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
_16_BIT_AS_32 = ("PNG", "PPM")  # formats whose 16 bits Pillow may store in 32: PNG before 10.3, PGM

Picture = Any  # PIL.Image.Image, of an optional package

Room = Callable[[int], AbstractContextManager[object]]
"""Waits until there is memory for this number of pixels, and holds it during its block; see parallel."""


def is_picture(image: object) -> TypeGuard[Picture]:
    """Whether this is a picture of Pillow, which is not imported for the check."""
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

    With `size` (height, width) the picture is resized as `geometry` says. 16 bits per channel are reduced to the upper
    eight. Of an animation, or of several pages, the first is used, and `note` is called with that. `room` is asked for
    memory once the size is known, and `measured` is called with the (height, width) that `picture_size` returns.
    Raises ImageError if it is damaged, too large, or of a mode that has no 8-bit form.
    """
    try:
        picture, turned, known = _open(data, where, channels)
        measured(_upright(picture, turned))
        if getattr(picture, "is_animated", False):
            note(f"{where}: contains several pictures; the first is used")
        with room(math.prod(picture.size)):
            return _decode(picture, turned, known, channels, size, geometry)
    except (ImageError, MissingExtraError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise ImageError(f"{where}: cannot be decoded: {brief(error, 120)}") from None


def picture_size(data: bytes, where: str) -> tuple[int, int]:
    """The (height, width) of a picture, upright, from its header. Raises ImageError if that cannot be read."""
    try:
        picture, turned, _ = _open(data, where, 3)
        return _upright(picture, turned)
    except (ImageError, MissingExtraError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"{where}: cannot be decoded: {brief(error, 120)}") from None


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
    """Open a picture with the plugin of its format: its pixels are not decoded, but a JPEG's orientation is read.

    Returns the picture, the orientation, and the name of the format. Raises ImageError, and what the plugin raises.
    """
    known = format_of(data[:LOOK])
    if known is None:
        raise ImageError(f"{where}: not a picture in a known format ({NAMES})")
    try:
        opened = image_file(known)
    except ImportError:
        what = "Pillow" if known.extra == "images" else f"a plugin of Pillow for {known.name}"
        raise MissingExtraError(f'{where}: {known.name} needs {what}: pip install "clf-edge[{known.extra}]"') from None
    data, exif = _without_exif(data) if known is JPEG else (data, b"")
    # Not Image.open, which warns about a size that is refused below, and about data after a JPEG's first picture.
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
    """Do what `decode_picture` does for a picture that is opened in Pillow, of any format; it is not changed."""
    from PIL import ImageOps

    _check(picture, where, channels)
    try:
        upright = _to_8_bits(ImageOps.exif_transpose(picture), picture.format or "")
        return to_input(upright, channels, size, geometry)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"{where}: cannot be decoded: {brief(error, 120)}") from None


def _check(picture: Picture, where: str, channels: int) -> None:
    if channels not in (1, 3):
        raise ImageError(f"{where}: a picture has 1 or 3 channels, the model expects {channels}; use .npy arrays")
    pixels = math.prod(picture.size)
    if pixels > MAX_PIXELS:
        raise ImageError(f"{where}: {pixels:,} pixels exceed the limit of {MAX_PIXELS:,}")
    is_16_bit = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in _16_BIT_AS_32)
    if picture.mode not in _MODES and not is_16_bit:
        raise ImageError(f"{where}: pixels of mode {picture.mode} are not supported; save it with 8 bits per channel")


def _to_8_bits(picture: Picture, name: str) -> Picture:
    """The picture with the upper eight of 16 bits per channel, which Pillow itself uses for RGB."""
    if not picture.mode.startswith("I"):
        return picture
    from PIL import Image

    values = np.asarray(picture)
    if name in _16_BIT_AS_32:
        np.clip(values, 0, 0xFFFF, out=(values := values.copy()))
    return Image.fromarray((values >> 8).astype(np.uint8))


def _without_exif(jpeg: bytes) -> tuple[bytes, bytes]:
    """A JPEG without its EXIF segments (ITU-T T.81, B.1.1), and the content of the first of them."""
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
    """The Orientation tag of EXIF, which has the structure of TIFF; None if it is absent or the EXIF is damaged."""
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
