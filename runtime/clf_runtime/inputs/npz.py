"""Read untrusted `.npz` archives: only the requested arrays, and nothing is written to disk.

An `.npz` is a zip file of `.npy` members. No claimed size is trusted: reads are small pieces of the actual data, a
member must contain exactly what its `.npy` header says, and its checksum is verified before anything is returned.
"""

import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Literal

import numpy as np
from numpy.typing import DTypeLike

from clf_runtime.bounded import as_path, open_regular, stamp
from clf_runtime.errors import ImageError
from clf_runtime.inputs.npy import NpyHeader, read_data, read_header, read_rows
from clf_runtime.inputs.zips import open_zip, zip_errors

MAX_MEMBERS = 1000
_KIND = "an .npz archive"
_PIECE = 1 << 20
_HELD_BYTES = 8 << 20  # of an array that is decompressed only once, and kept until its checksum is verified


class Npz:
    """An open archive; see `open_npz`. `names` are those of its arrays, in file order, `stamp` identifies the file.

    Any fault of the archive raises ImageError where it is found.
    """

    names: tuple[str, ...]
    stamp: tuple[int, ...]

    def __init__(self, archive: zipfile.ZipFile, file: IO[bytes], where: str) -> None:
        """Read the directory of an archive in an open file; `where` names it in errors."""
        self._archive, self._file, self._where = archive, file, where
        status = os.fstat(file.fileno())
        self.stamp = stamp(status)
        self._members: dict[str, zipfile.ZipInfo] = {}
        infos = archive.infolist()
        if len(infos) > MAX_MEMBERS:
            raise ImageError(f"{where}: {len(infos):,} arrays in one .npz exceed the limit of {MAX_MEMBERS:,}")
        if sum(info.compress_size for info in infos) > status.st_size:
            raise ImageError(f"{where}: damaged .npz: its members are larger than the file")
        for info in infos:
            name = info.filename.removesuffix(".npy")
            if name in self._members:
                raise ImageError(f"{where}: damaged .npz: duplicate array {name[:60]!r}")
            self._members[name] = info
        self.names = tuple(self._members)

    def peek(self, name: str) -> NpyHeader:
        """The header of an array, after a comparison with the size in the archive's directory."""
        with self._open(name) as stream:
            header = read_header(stream, self._called(name))
            there = self._members[name].file_size - stream.tell()
        if there != header.data_bytes:
            claimed = f"its header says {header.data_bytes:,} bytes, there are {there:,}"
            raise ImageError(f"{self._called(name)}: damaged: {claimed}")
        return header

    def read(self, name: str, max_bytes: int) -> np.ndarray:
        """Read an array of at most `max_bytes`."""
        header = self.peek(name)
        with self._reopen(name, header) as stream:
            array = read_data(stream, header, self._called(name), max_bytes)
            self._end(name, stream)
        return array

    def load(self, name: str, empty: Callable[[tuple[int, ...], DTypeLike], np.ndarray], most: int) -> np.ndarray:
        """Read an array of up to `most` bytes; a larger one is mapped, or decompressed into what `empty` returns.

        What is mapped is the very file whose checksum was verified, not what its path may refer to by now. If the file
        shrinks while it is mapped, the process is killed.
        """
        header, info = self.peek(name), self._members[name]
        if header.data_bytes <= most:
            return self.read(name, most)
        order: Literal["C", "F"] = "F" if header.fortran_order else "C"
        if info.compress_type == zipfile.ZIP_STORED:
            with self._reopen(name, header) as stream:
                read_to_end(stream)
            start = stored_at(self._file, info) + info.file_size - header.data_bytes
            return np.memmap(self._file, header.dtype, "r", start, header.shape, order).view(np.ndarray)
        unpacked = empty((header.data_bytes,), np.uint8)
        with self._reopen(name, header) as stream:
            for first in range(0, header.data_bytes, _PIECE):
                piece = stream.read(min(_PIECE, header.data_bytes - first))
                if len(piece) < min(_PIECE, header.data_bytes - first):
                    raise ImageError(f"{self._called(name)}: damaged or truncated")
                unpacked[first : first + len(piece)] = np.frombuffer(piece, np.uint8)
            self._end(name, stream)
        return unpacked.view(header.dtype).reshape(header.shape, order=order)

    def rows(self, name: str, rows: int, max_bytes: int) -> Iterator[np.ndarray]:
        """Yield an array in C order in blocks of up to `rows` rows and `max_bytes`.

        Nothing is yielded before the checksum of the whole is verified: a small array is decompressed once and kept, a
        larger one twice.
        """
        header = self.peek(name)
        if 0 < header.data_bytes <= min(max_bytes, _HELD_BYTES):
            whole = self.read(name, max_bytes)
            yield from (whole[first : first + rows] for first in range(0, len(whole), rows))
            return
        with self._reopen(name, header) as stream:
            read_to_end(stream)
        with self._reopen(name, header) as stream:
            yield from read_rows(stream, header, self._called(name), rows, max_bytes)
            self._end(name, stream)

    def _end(self, name: str, stream: IO[bytes]) -> None:
        """Read the end of an array, where zipfile verifies the checksum."""
        if stream.read(1):
            raise ImageError(f"{self._called(name)}: damaged: more bytes than its header says")

    def _called(self, name: str) -> str:
        return f"{self._where}, array {name[:60]}"

    @contextmanager
    def _reopen(self, name: str, header: NpyHeader) -> Iterator[IO[bytes]]:
        with self._open(name) as stream:
            if read_header(stream, self._called(name)) != header:
                raise ImageError(f"{self._called(name)}: modified while it was read")
            yield stream

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        info = self._members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ImageError(f"{self._called(name)}: unsupported compression; save it with numpy.savez")
        with zip_errors(self._called(name), _KIND), self._archive.open(info) as stream:
            yield stream


def read_to_end(stream: IO[bytes]) -> None:
    """Read a member of an archive up to its end, where zipfile verifies the checksum and raises BadZipFile."""
    while stream.read(_PIECE):
        pass


def stored_at(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """The offset in an archive's file at which the data of a stored member begins."""
    file.seek(info.header_offset + 26)  # the local header's 30 bytes end with the lengths of two fields after it
    name, extra = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + int(name) + int(extra)


@contextmanager
def open_npz(path: str | os.PathLike[str], same: tuple[int, ...] | None = None) -> Iterator[Npz]:
    """Open an archive; with `same`, only the file that had this `stamp`. Raises ImageError if that fails."""
    where = as_path(path)
    with zip_errors(where, _KIND):
        plain = open_regular(where)
    with plain:
        if same is not None and stamp(os.fstat(plain.fileno())) != same:
            raise ImageError(f"{where}: the file was replaced or modified while it was read")
        with npz_in(plain, where) as npz:
            yield npz


@contextmanager
def npz_in(stream: IO[bytes], where: str) -> Iterator[Npz]:
    """Open the archive in an open file, named `where`. Raises ImageError if it is not one."""
    with zip_errors(where, _KIND):
        archive = open_zip(stream)
    with archive:
        yield Npz(archive, stream, where)


def as_texts(names: np.ndarray, where: str) -> list[str]:
    """An array of names as strings. Raises ImageError if it contains anything else, or invalid characters."""
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise ImageError(f"{where}: names must be one string per class, not {names.dtype} of shape {names.shape}")
    try:
        texts = [n.decode() if isinstance(n, bytes) else n for n in names.tolist()]
        "".join(texts).encode()
    except (UnicodeError, ValueError, SystemError):  # numpy accepts any number as a character
        raise ImageError(f"{where}: names must be text in UTF-8") from None
    return texts
