"""The supported picture formats, one line each, detected from the first bytes of a file, never from its name.

The suffixes are for finding files in folders. Pillow decodes each format with the plugin that its line names
(https://pillow.readthedocs.io/en/stable/handbook/image-file-formats.html), HEIC by pillow-heif's.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

LOOK = 32  # bytes of a file that identify its format


@dataclass(frozen=True)
class PictureFormat:
    """A format: its name, the module and class of its plugin, its magic bytes, and its suffixes.

    `extra` is the extra of clf-edge that installs the plugin.
    """

    name: str
    module: str
    plugin: str
    start: re.Pattern[bytes]
    suffixes: tuple[str, ...]
    extra: str = "images"


def _format(
    name: str, start: bytes, *suffixes: str, module: str = "", plugin: str = "", extra: str = "images"
) -> PictureFormat:
    own = name.capitalize()
    module, plugin = module or f"PIL.{own}ImagePlugin", plugin or f"{own}ImageFile"
    return PictureFormat(name, module, plugin, re.compile(start, re.DOTALL), suffixes, extra)


JPEG = _format("JPEG", rb"\xff\xd8\xff", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
FORMATS = (
    _format("PNG", rb"\x89PNG\r\n\x1a\n", ".png", ".apng"),
    JPEG,
    _format("WebP", rb"RIFF....WEBP", ".webp", module="PIL.WebPImagePlugin", plugin="WebPImageFile"),
    _format("BMP", rb"BM.{4}\0\0\0\0", ".bmp", ".dib"),
    _format("GIF", rb"GIF8[79]a", ".gif"),
    _format("TIFF", rb"II\*\0|MM\0\*", ".tif", ".tiff"),
    _format("PPM", rb"P[1-6]\s+[#\d]", ".ppm", ".pgm", ".pbm", ".pnm"),
    _format(
        "HEIC",
        rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)",
        *(".heic", ".heif", ".hif"),
        module="pillow_heif.as_plugin",
        plugin="HeifImageFile",
        extra="heic",
    ),
)

SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)
NAMES = " or ".join((", ".join(known.name for known in FORMATS[:-1]), FORMATS[-1].name))


def format_of(start: bytes) -> PictureFormat | None:
    """The format of a file by its first LOOK bytes, or all of a shorter one; None if it is none of these."""
    return next((known for known in FORMATS if known.start.match(start)), None)


def image_file(known: PictureFormat) -> Any:
    """Pillow's class of files of a format. Raises ImportError without Pillow, or without the plugin."""
    return getattr(import_module(known.module), known.plugin)
