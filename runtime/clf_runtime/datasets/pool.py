"""The files below a folder, at any depth, and the one that an entry of a list means: nothing outside of it is read."""

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from clf_runtime.datasets.listing import part_of_name, visible
from clf_runtime.datasets.places import Place
from clf_runtime.errors import ImageError
from clf_runtime.inputs.paths import MAX_FILES
from clf_runtime.inputs.picture_formats import SUFFIXES

_DEPTH = 32
_DRIVE = re.compile("[A-Za-z]:")


class Pool:
    """The files below a folder, by their relative paths; links that lead out of it are ignored."""

    def __init__(self, folder: Place) -> None:
        """Find all of them. Raises ImageError for more than MAX_FILES, or too deeply nested folders."""
        self._folder = folder
        self._root = os.path.realpath(folder) if isinstance(folder, Path) else None
        self.files = dict(islice(self._walk(folder, "", 0), MAX_FILES + 1))
        if len(self.files) > MAX_FILES:
            raise ImageError(f"{folder}: more than {MAX_FILES:,} files")
        self._by_name: dict[str, list[str]] = {}
        self._parts: set[str] = set()
        for path in self.files:
            self._parts |= _parts_of(path)
            name = path.rpartition("/")[2]
            self._by_name.setdefault(name, []).append(path)
            stem, dot, _ = name.rpartition(".")
            if dot and name.lower().endswith(SUFFIXES):
                self._by_name.setdefault(stem, []).append(path)

    def _walk(self, folder: Place, above: str, depth: int) -> Iterator[tuple[str, Place]]:
        if depth > _DEPTH:
            raise ImageError(f"{folder}: folders nested deeper than {_DEPTH}")
        for entry in visible(folder):
            path = above + entry.name
            is_link = isinstance(entry, Path) and entry.is_symlink()
            if entry.is_dir():
                if not is_link:
                    yield from self._walk(entry, f"{path}/", depth + 1)
            elif entry.is_file() and not (is_link and self._leads_out(entry)):
                yield path, entry

    def _leads_out(self, entry: Place) -> bool:
        return (
            isinstance(entry, Path)
            and self._root is not None
            and not Path(os.path.realpath(entry)).is_relative_to(self._root)
        )

    def find(self, text: str, part: str | None, where: str) -> str | None:
        """The file that an entry means: its path, the end of one, or that without its extension; None if none.

        If several match, those in the folder of the part are preferred; if there is such a folder, a file in that of
        another part is none of them. Raises ImageError if the entry leads out of the folder, or is ambiguous.
        """
        wanted = self._below(text, where)
        if wanted in self.files:
            return wanted
        name = wanted.rpartition("/")[2]
        there = self._by_name.get(name, ())
        found = [p for p in there if f"/{p}".endswith(f"/{wanted}")]
        found = found or [p for p in there if f"/{p.rpartition('.')[0]}".endswith(f"/{wanted}")]
        if part is not None and found:
            own = [p for p in found if part in _parts_of(p)]
            found = own or ([p for p in found if not _parts_of(p)] if part in self._parts else found)
        if len(found) > 1:
            raise ImageError(f"{where}: {text[:200]!r} may be {found[0]} or {found[1]}; use the path below the folder")
        return found[0] if found else None

    def _below(self, text: str, where: str) -> str:
        """The relative path of an entry. Raises ImageError if it leads out of the folder."""
        path, has_drive = PurePosixPath(text.replace("\\", "/")), _DRIVE.match(text) is not None
        if path.is_absolute():
            for root in {self._root, str(self._folder)} - {None}:
                if path.is_relative_to(str(root)):
                    path = path.relative_to(str(root))
                    break
        if path.is_absolute() or has_drive or ".." in path.parts or not path.name:
            raise ImageError(f"{where}: {text[:200]!r} leads out of the folder of the list")
        return str(path)


def _parts_of(path: str) -> set[str]:
    """The parts that the folders of a path are named like."""
    return {part for above in path.split("/")[:-1] if (part := part_of_name(above)) is not None}
