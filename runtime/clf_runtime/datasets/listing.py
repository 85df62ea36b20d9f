"""The entries of a folder of images: parts and class-named folders among them, and what is skipped."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from clf_runtime.datasets.places import Place, open_place
from clf_runtime.errors import ImageError
from clf_runtime.inputs.picture_formats import SUFFIXES, format_of

P = TypeVar("P", bound=Place)
PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_NAMES = "names.txt"  # read elsewhere
_LEFT_BEHIND = ("thumbs.db", "desktop.ini", "@eadir", "__macosx")
_ABOUT = ("readme", "license", "licence")
_ABOUT_SUFFIXES = ("", ".txt", ".md", ".rst", ".html")
_START_BYTES = 64
_FEW = 5
_DEPTH = 4  # of folders that contain only the next


def part_of_name(name: str) -> str | None:
    """The part of a folder or array with this name, `train`, `validation` or `test`, in any case; None if none."""
    return next((part for part, names in PARTS.items() if name.lower() in names), None)


def visible(folder: P) -> list[P]:
    """The entries of a folder, sorted by name, without those that are skipped."""
    return sorted((e for e in folder.iterdir() if e.name.lower() != _NAMES and not _is_left_out(e)), key=_name)


def left_out(folders: Iterable[Place]) -> str | None:
    """A note about system files in folders, and files that only describe the data; None if there are none."""
    names = [entry.name for folder in folders for entry in folder.iterdir() if _is_left_out(entry)]
    if not names:
        return None
    kinds = sorted(set(names))
    more = ", ..." * (len(kinds) > _FEW)
    what = "file or folder" if len(names) == 1 else "files or folders"
    return f"skipped, since they are not images: {len(names):,} {what} ({', '.join(kinds[:_FEW])}{more})"


def _is_left_out(entry: Place) -> bool:
    name = entry.name.lower()
    return (
        name.startswith(".")
        or name in _LEFT_BEHIND
        or (
            name.startswith(_ABOUT)
            and entry.stem.lower() in _ABOUT
            and entry.suffix.lower() in _ABOUT_SUFFIXES
            and entry.is_file()
        )
    )


def _name(entry: Place) -> str:
    return entry.name


def is_sheet(entry: Place) -> bool:
    """Whether a file is a sheet of samples, which `clf-train --show` writes into the working directory."""
    return entry.name.endswith("-samples.png")


def class_folders(path: P) -> list[P]:
    """The folders in a folder that may be classes; `artifacts` is one only if it contains pictures, not runs."""
    if not path.is_dir():
        return []
    return [e for e in visible(path) if e.is_dir() and (e.name != "artifacts" or has_pictures(e))]


def has_pictures(folder: Place) -> bool:
    """Whether a folder contains a file with a picture's suffix, or its first file is a picture by its content."""
    entries = (entry for entry in folder.iterdir() if not _is_left_out(entry))
    return any(entry.suffix.lower() in SUFFIXES for entry in entries) or any(
        entry.is_file() and is_picture_file(entry) for entry in islice(visible(folder), 1)
    )


def is_picture_file(file: Place) -> bool:
    """Whether a file starts like a picture in a known format, whatever its name."""
    with open_place(file) as stream:
        return format_of(stream.read(_START_BYTES)) is not None


def part_folders(path: P) -> dict[str, P]:
    """The folders of parts in a folder, by part. Raises ImageError if a part has two."""
    found: dict[str, P] = {}
    for entry in visible(path) if path.is_dir() else ():
        part = part_of_name(entry.name)
        if part is None or not entry.is_dir():
            continue
        if part in found:
            raise ImageError(f"{path}: both {found[part].name}/ and {entry.name}/; keep one of them in the folder")
        found[part] = entry
    return found


def down(path: P) -> Iterator[P]:
    """A path, and the folders in it as long as each is the only entry, as after unpacking an archive."""
    yield path
    for _ in range(_DEPTH):
        if not path.is_dir() or len(inside := visible(path)) != 1:
            return
        [path] = inside
        yield path


def refuse_extra(folder: Place, known: Iterable[str], layout: str) -> None:
    """Raise ImageError if a folder contains anything that is not part of its layout: data might be missed.

    The output of clf-train itself, if it runs inside the folder, is ignored.
    """
    names = set(known)
    for entry in visible(folder):
        if entry.name not in names and not is_sheet(entry) and not (entry.name == "artifacts" and entry.is_dir()):
            raise ImageError(f"{entry}: an extra file or folder, not part of {layout}; remove it")
