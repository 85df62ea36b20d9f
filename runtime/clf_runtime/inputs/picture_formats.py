"""The picture formats that are read: a line each, told apart by the first bytes of a file, never by its name.

Files of these names are looked for in folders. Pillow decodes them, each by the plugin of its name
(https://pillow.readthedocs.io/en/stable/handbook/image-file-formats.html).
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class PictureFormat:
    """A format: what Pillow's plugin is called, the bytes that a file of it begins with, and the endings of names."""

    plugin: str
    start: bytes
    suffixes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The format's name for people."""
        return self.plugin.upper()


PNG = PictureFormat("Png", b"\x89PNG\r\n\x1a\n", (".png",))
JPEG = PictureFormat("Jpeg", b"\xff\xd8\xff", (".jpg", ".jpeg"))
FORMATS = (PNG, JPEG)

SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)
NAMES = " and ".join((", ".join(known.name for known in FORMATS[:-1]), FORMATS[-1].name))


def format_of(start: bytes) -> PictureFormat | None:
    """The format of a file by its first eight bytes or more; None if it is none of these."""
    return next((known for known in FORMATS if start.startswith(known.start)), None)


def image_file(known: PictureFormat) -> Any:
    """Pillow's class of files of a format. Raises ImportError without Pillow."""
    return getattr(import_module(f"PIL.{known.plugin}ImagePlugin"), f"{known.plugin}ImageFile")
