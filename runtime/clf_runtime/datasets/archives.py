"""Folders of pictures, lists, idx files and tables in a `.zip` or `.tar`, compressed or not; nothing is extracted."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from clf_runtime.datasets import folders, idx, lists, pixels, tar
from clf_runtime.datasets.archive_tree import root_of
from clf_runtime.datasets.listing import down, left_out
from clf_runtime.datasets.places import Place
from clf_runtime.datasets.source import Reading, Source
from clf_runtime.datasets.tar_archive import TarArchive
from clf_runtime.datasets.zip_archive import ZipArchive, is_zip
from clf_runtime.errors import ImageError


class _Inner(Protocol):
    def recognises(self, path: Place) -> bool: ...

    def look(self, path: Place, reading: Reading) -> Source: ...


_INNER: tuple[_Inner, ...] = (idx, lists, pixels, folders)


def recognises(path: Path) -> bool:
    """Whether a file starts like a zip or tar archive."""
    return path.is_file() and (is_zip(path) or tar.is_tar(path))


def look(path: Path, reading: Reading) -> Source:
    """Inspect the content of an archive. Raises ImageError if it is damaged, hostile, or of an unknown layout."""
    archive = ZipArchive(path) if is_zip(path) else TarArchive(path)
    said = [f"{path}: skipped, since links in an archive are not followed: {archive.links:,}"] if archive.links else []
    for folder in down(root_of(archive)):
        for layout in _INNER:
            if layout.recognises(folder):
                found = layout.look(folder, reading)
                return replace(found, where=str(path), notes=(*said, *found.notes))
        if folder.is_dir() and (left := left_out([folder])):
            said.append(left)
    names = ", ".join(sorted(archive.root)[:5]) or "nothing"
    raise ImageError(f"{path}: unknown layout of an archive (found {names}); see docs/sources.md")
