"""Folders of pictures, of lists, of idx files and tables, in a `.zip` or `.tar`, packed or not, read where they are."""

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

KNOWN = "a .zip or .tar.gz of class-named folders, of a list with its pictures, of idx files or tables of pixels"


class _Inner(Protocol):
    KNOWN: str

    def recognises(self, path: Place) -> bool: ...

    def look(self, path: Place, reading: Reading) -> Source: ...


_INNER: tuple[_Inner, ...] = (idx, lists, pixels, folders)


def recognises(path: Path) -> bool:
    """Whether a file begins as a zip or tar archive."""
    return path.is_file() and (is_zip(path) or tar.is_tar(path))


def look(path: Path, reading: Reading) -> Source:
    """Look at what is in an archive. Raises ImageError if it is damaged, hostile, or of no layout that is known."""
    archive = ZipArchive(path) if is_zip(path) else TarArchive(path)
    said = [f"{path}: left out, since links in an archive are not followed: {archive.links:,}"] if archive.links else []
    for folder in down(root_of(archive)):
        for layout in _INNER:
            if layout.recognises(folder):
                found = layout.look(folder, reading)
                return replace(found, where=str(path), notes=(*said, *found.notes))
        if folder.is_dir() and (left := left_out([folder])):
            said.append(left)
    names = ", ".join(sorted(archive.root)[:5]) or "nothing"
    known = "; ".join(layout.KNOWN for layout in _INNER)
    raise ImageError(f"{path}: an archive of no layout that is known (found {names}); known within one are: {known}")
