"""What lies in a folder of images: its visible entries, and the class-named folders of pictures among them."""

from collections.abc import Iterable
from pathlib import Path

from clf_runtime.errors import ImageError
from clf_runtime.inputs.picture_formats import SUFFIXES

TEST_FOLDERS = ("test", "val", "valid", "validation")
_HARMLESS = ("names.txt", "thumbs.db", "desktop.ini")
_HARMLESS_STEMS = ("readme", "license", "licence")
_HARMLESS_SUFFIXES = ("", ".txt", ".md", ".rst", ".html")


def visible(folder: Path) -> list[Path]:
    """The entries of a folder, sorted by name, without hidden files and those that only describe the data."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".")
        and entry.name.lower() not in _HARMLESS
        and not (
            entry.stem.lower() in _HARMLESS_STEMS and entry.suffix.lower() in _HARMLESS_SUFFIXES and entry.is_file()
        )
    )


def is_sheet(entry: Path) -> bool:
    """Whether a name is that of a sheet of samples, which `clf-train --show` leaves in the folder it is called in."""
    return entry.name.endswith("-samples.png")


def class_folders(path: Path) -> list[Path]:
    """The folders in a folder that may be classes; `artifacts` is one only if it holds pictures, not runs."""
    if not path.is_dir():
        return []
    return [e for e in visible(path) if e.is_dir() and (e.name != "artifacts" or has_pictures(e))]


def has_pictures(folder: Path) -> bool:
    """Whether a folder holds a file that is named as a PNG or JPEG."""
    return any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir())


def refuse_extra(folder: Path, known: Iterable[str], layout: str) -> None:
    """Raise ImageError if a folder holds anything that its layout does not know: it may be data that would be missed.

    What clf-train itself leaves, when it runs inside the folder, is none.
    """
    for entry in visible(folder):
        if entry.name not in known and not is_sheet(entry) and not (entry.name == "artifacts" and entry.is_dir()):
            raise ImageError(f"{entry}: an extra file or folder, not part of {layout}; move it away")
