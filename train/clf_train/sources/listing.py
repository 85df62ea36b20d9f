"""What lies in a folder that is read as a source."""

from collections.abc import Iterable
from pathlib import Path

from clf_train.errors import DataError

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


def refuse_extra(folder: Path, known: Iterable[str], layout: str) -> None:
    """Raise DataError if a folder holds anything that its layout does not know: it may be data that would be missed."""
    for entry in visible(folder):
        if entry.name not in known and not _is_ours(entry):
            raise DataError(f"{entry}: an extra file or folder, not part of {layout}; move it away")


def _is_ours(entry: Path) -> bool:
    """Whether clf-train itself left this, when it ran inside the folder."""
    return entry.name.endswith("-samples.png") or (entry.name == "artifacts" and entry.is_dir())
