"""The files of an archive as places, like those of a folder: nothing is extracted, and no path in it is followed."""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Protocol, Self

from clf_runtime.datasets.places import Content
from clf_runtime.errors import ImageError

MAX_MEMBERS = 1_000_000
_MAX_DEPTH = 32
_MAX_NAME = 1024

Node = dict[str, Any]
"""A folder: its entries by name, each a folder or the archive's key of a file."""


class Archive(Protocol):
    """An archive: its path for errors, the tree of its files, and their bytes."""

    where: str
    root: Node

    def open(self, key: Any) -> AbstractContextManager[IO[bytes]]:
        """Open a file. Raises ImageError if it is damaged."""
        ...

    def read_all(self, keys: Sequence[Any], most: int) -> Iterator[Content]:
        """The bytes of files in this order. Raises ImageError if the archive is damaged."""
        ...


class Inside:
    """A file or folder of an archive; see Place and Archived. There may be a million, so it is small."""

    __slots__ = ("archive", "name", "node", "path")

    def __init__(self, archive: Archive, path: str, name: str, node: Any) -> None:
        """The place `path` in an archive, with its `node` in the tree; `name` is the last part."""
        self.archive, self.path, self.name, self.node = archive, path, name, node

    def __str__(self) -> str:
        return f"{self.archive.where}/{self.path}" if self.path else self.archive.where

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """The extension of the name, with its dot."""
        return posixpath.splitext(self.name)[1]

    @property
    def file(self) -> Path:
        """The archive."""
        return Path(self.archive.where)

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return isinstance(self.node, dict)

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.node is not None and not self.is_dir()

    def iterdir(self) -> Iterator[Self]:
        """The entries of a folder."""
        for name, node in self.node.items():
            yield self._inner(name, node)

    def __truediv__(self, name: str) -> Self:
        return self._inner(name, self.node.get(name) if self.is_dir() else None)

    def _inner(self, name: str, node: Any) -> Self:
        return type(self)(self.archive, f"{self.path}/{name}" if self.path else name, name, node)

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Open a file. Raises ImageError if it is damaged."""
        return self.archive.open(self.node)

    def read_all(self, places: Sequence[Self], most: int) -> Iterator[Content]:
        """The bytes of several files of the same archive."""
        return self.archive.read_all([place.node for place in places], most)


def root_of(archive: Archive) -> Inside:
    """The root folder of an archive."""
    return Inside(archive, "", "", archive.root)


def make_tree(members: Iterable[tuple[str, Any]], where: str) -> Node:
    """The tree of members, each a path and the archive's key of it, None for a folder.

    Raises ImageError for a path that leads out of the archive, a duplicate, and too many or too long ones.
    """
    root: Node = {}
    for count, (name, key) in enumerate(members):
        if count >= MAX_MEMBERS:
            raise ImageError(f"{where}: more than {MAX_MEMBERS:,} members")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or name.startswith("/") or "\0" in name:
            raise ImageError(f"{where}: contains {name[:200]!r}, a path that leads out of the archive; pack it again")
        if len(parts) > _MAX_DEPTH or len(name) > _MAX_NAME:
            raise ImageError(f"{where}: contains {name[:60]!r}..., a path that exceeds the limits")
        if not parts:
            continue
        *folders, last = parts
        node = root
        for folder in (*folders, last) if key is None else folders:
            node = node.setdefault(folder, {})
            if not isinstance(node, dict):
                raise ImageError(f"{where}: {name[:200]} is inside of a file, not a folder")
        if key is not None:
            if last in node:
                raise ImageError(f"{where}: duplicate {name[:200]}")
            node[last] = key
    return root
