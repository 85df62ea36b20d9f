"""Untrusted tar archives, compressed or not, read sequentially; see archive_tree."""

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from clf_runtime.bounded import stamp
from clf_runtime.datasets.archive_tree import Node, make_tree
from clf_runtime.datasets.places import Content
from clf_runtime.datasets.tar import Member, each_member
from clf_runtime.errors import ImageError
from clf_runtime.inputs.picture_formats import SUFFIXES
from clf_runtime.system import physical_memory

_HELD_BYTES = 64 << 20  # of files other than pictures, such as lists, which are read more than once


class TarArchive:
    """A tar archive: its path, and the tree of its files, with their number as key; `links` counts the skipped ones.

    Its members can be read only one after another. If they are requested in another order, they are kept in memory,
    encoded, until it is their turn: in half of the memory at most.
    """

    def __init__(self, path: Path) -> None:
        """Read all headers, up to the end. Raises ImageError if it is damaged."""
        self.where, self._path = str(path), path
        self._stamp = stamp(os.stat(path))
        self._held: dict[int, bytes] = {}
        self.links = 0
        self.root: Node = make_tree(self._look(), self.where)

    def _look(self) -> Iterator[tuple[str, int | None]]:
        room = _HELD_BYTES
        for number, member in enumerate(self._members()):
            if member.is_link:
                self.links += 1
            elif member.is_dir:
                yield member.name, None
            elif member.is_file:
                yield member.name, number
                if member.size <= room and not member.name.lower().endswith(SUFFIXES):
                    self._held[number] = data = member.read(room)
                    room -= len(data)

    def _members(self) -> Iterator[Member]:
        if stamp(os.stat(self._path)) != self._stamp:
            raise ImageError(f"{self.where}: the file was replaced or modified while it was read")
        return each_member(self._path)

    @contextmanager
    def open(self, number: int) -> Iterator[IO[bytes]]:
        """A member in memory."""
        most = physical_memory() // 2
        for data in self.read_all([number], most):
            if not isinstance(data, bytes):
                raise ImageError(f"{self.where}: a member exceeds the limit of {most:,} bytes; unpack the archive")
            yield io.BytesIO(data)

    def read_all(self, numbers: Sequence[int], most: int) -> Iterator[Content]:
        """Read members in one pass."""
        left = Counter(number for number in numbers if number not in self._held)
        read: dict[int, bytes | None] = {}
        room = physical_memory() // 2
        members = enumerate(self._members()) if left else iter(())
        for number in numbers:
            if number in self._held:
                data = self._held[number]
                yield data if len(data) <= most else None
                continue
            while number not in read:
                at, member = next(members, (-1, None))
                if member is None:
                    raise ImageError(f"{self.where}: modified while it was read")
                if at in left:
                    data_or_none = None if member.size > most else member.read(most)
                    read[at] = data_or_none
                    room -= len(data_or_none or b"")
                    if room < 0:
                        raise ImageError(
                            f"{self.where}: its pictures are stored in another order than they are read in, and do not "
                            "fit into half of the memory; unpack it, or pack it as .zip"
                        )
            left[number] -= 1
            data_or_none = read[number]
            if not left[number]:
                room += len(read.pop(number) or b"")
            yield data_or_none
