"""Untrusted zip archives, read a member at a time; see archive_tree."""

import os
import stat
import weakref
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from clf_runtime.bounded import open_regular, read_bounded
from clf_runtime.datasets.archive_tree import Node, make_tree
from clf_runtime.datasets.places import Content
from clf_runtime.errors import ImageError
from clf_runtime.inputs.zips import open_zip, zip_errors

_KIND = "a zip archive"
_MAX_DIRECTORY_BYTES = 32 << 20  # of about 400,000 pictures


def is_zip(path: Path) -> bool:
    """Whether a file starts like a zip archive, including an empty one."""
    with open_regular(path) as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


class ZipArchive:
    """A zip archive: its path, and the tree of its files; `links` counts the skipped ones.

    The file is opened once, so that it cannot be replaced.
    """

    def __init__(self, path: Path) -> None:
        """Read the directory. Raises ImageError if it is damaged, or claims more bytes than the file has."""
        self.where = str(path)
        self._stream = open_regular(path)
        weakref.finalize(self, self._stream.close)  # a part outlives any `with`
        with zip_errors(self.where, _KIND):
            self._archive = open_zip(self._stream, _MAX_DIRECTORY_BYTES)
            members = self._archive.infolist()
        if sum(info.compress_size for info in members) > os.fstat(self._stream.fileno()).st_size:
            raise ImageError(f"{self.where}: damaged: its members are larger than the file")
        links = [info for info in members if stat.S_ISLNK(info.external_attr >> 16)]
        self.links = len(links)
        left = set(map(id, links))
        kept = (
            (info.filename, None if info.filename.endswith("/") else info) for info in members if id(info) not in left
        )
        self.root: Node = make_tree(kept, self.where)

    @contextmanager
    def open(self, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        """Open a member. Raises ImageError if it is damaged, encrypted, or not stored or deflated."""
        where = f"{self.where}/{info.filename}"
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ImageError(f"{where}: unsupported compression; pack it again with deflate")
        if info.flag_bits & 1:
            raise ImageError(f"{where}: encrypted; pack it again without a password")
        with zip_errors(where, _KIND), self._archive.open(info) as stream:
            yield stream

    def read_all(self, infos: Sequence[zipfile.ZipInfo], most: int) -> Iterator[Content]:
        """Read members one after another."""
        for info in infos:
            try:
                with self.open(info) as stream:
                    content: Content = read_bounded(stream, most)
            except ImageError as error:
                content = error
            yield content
