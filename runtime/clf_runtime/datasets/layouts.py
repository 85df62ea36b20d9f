"""The layouts of labelled images, detected, never chosen by a flag: one module each, one line here.

The one reader of clf-train and clf-eval. A layout's module has `recognises(path)`, which looks at names, and
`look(path, reading)`, which returns the Source. A word is a source that is not a path. docs/sources.md describes all.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from clf_runtime.datasets import (
    archives,
    cifar10,
    csv_tables,
    digits,
    folders,
    idx,
    lists,
    npz,
    parquet,
    pixels,
    tensor_files,
    tensors,
)
from clf_runtime.datasets.listing import down, left_out
from clf_runtime.datasets.source import Reading, Source
from clf_runtime.errors import ImageError

_FEW = 5


class Layout(Protocol):
    """The interface of a layout's module."""

    def recognises(self, path: Path) -> bool:
        """Whether a file or folder looks like this layout; its content may be anything."""
        ...

    def look(self, path: Path, reading: Reading) -> Source:
        """Inspect what was recognised. Raises ImageError if it is damaged, incomplete, or has unknown content."""
        ...


LAYOUTS: tuple[Layout, ...] = (tensors, npz, tensor_files, cifar10, idx, parquet, lists, pixels, folders, archives)
WORDS: dict[str, Callable[[], Source]] = {digits.WORD: digits.look}


def open_source(source: str | os.PathLike[str], reading: Reading) -> Source:
    """Inspect a folder or file in any layout, or the word `digits`, which takes precedence over a path if it is a str.

    `reading` says how images are read.
    Raises ImageError, in one line that names the file; OSError if the system refuses a file.
    """
    if isinstance(source, str) and source in WORDS:
        return WORDS[source]()
    path = Path(source)
    if not os.path.exists(path):  # unlike Path.exists it never raises
        raise ImageError(f"{path}: no such file or folder")
    said: list[str] = []
    for folder in down(path):
        for layout in LAYOUTS:
            if layout.recognises(folder):
                found = layout.look(folder, reading)
                return replace(found, notes=(*said, *found.notes))
        if folder.is_dir() and (left := left_out([folder])):
            said.append(left)
    raise ImageError(f"{path}: unknown layout{_found(path)}; see docs/sources.md")


def _found(path: Path) -> str:
    """What was found instead, and why a table is not recognised."""
    if path.suffix.lower() in csv_tables.SUFFIX and path.is_file():
        return f" ({csv_tables.look_at(path)})"
    if not path.is_dir():
        return ""
    if said := csv_tables.tables_in(path)[1]:
        return f" ({said[0]})"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return f" (found {', '.join(names[:_FEW])}{more})" if names else " (the folder is empty)"
