"""Read untrusted files without allocating more memory than they hold."""

import io
import os
import stat
from collections.abc import Callable
from typing import IO

from clf_runtime.errors import ImageError, ModelError, called

_PIECE = 1 << 20


def as_path(path: object, error: type[ImageError] | type[ModelError] = ImageError) -> str:
    """A path as str. Raises `error` if it is not a path, is bytes, or is empty."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if isinstance(text, str) and text:
        return text
    raise error(f"expected the path of a file, as str, not {'an empty one' if text == '' else called(path)}")


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file for reading; the caller closes it.

    The check is made on the open file, so nothing can be swapped in between; a pipe without a writer does not block.
    Raises OSError if it cannot be opened or is a directory, a pipe or a device, ValueError if the path holds a NUL.
    """
    nonblocking = getattr(os, "O_NONBLOCK", 0)
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | nonblocking))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError("not a file (a directory, a pipe or a device)")
    return stream


def stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    """What identifies an unchanged file: its device, inode, size, and modification time in ns."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_bounded(source: str | os.PathLike[str] | IO[bytes], most: int) -> bytes | None:
    """Read a whole file, or the rest of a stream; None if it holds more than `most` bytes. Raises as open_regular."""
    if not isinstance(source, str | os.PathLike):
        return _read(source, most, _PIECE)
    with open_regular(source) as stream:
        size = os.fstat(stream.fileno()).st_size
        return None if size > most else _read(stream, most, size + 1)  # in one piece, which is not copied


def _read(stream: IO[bytes], most: int, piece_bytes: int) -> bytes | None:
    pieces: list[bytes] = []
    size = 0
    while piece := stream.read(piece_bytes):
        size += len(piece)
        if size > most:
            return None
        pieces.append(piece)
        piece_bytes = _PIECE
    return b"".join(pieces)


class InPieces(io.BufferedIOBase):
    """An open file whose reads are limited to 1 MiB, for libraries that read as much as the file claims to hold.

    zipfile does so for an archive's directory, tarfile for a long name. Larger reads raise ValueError.
    """

    def __init__(self, stream: IO[bytes], most: int = _PIECE) -> None:
        """Read from `stream`, which the caller closes, at most `most` bytes at once."""
        self._stream, self._most = stream, most
        self.seek: Callable[..., int] = stream.seek
        self.tell: Callable[[], int] = stream.tell

    def seekable(self) -> bool:
        """True: the underlying file is."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, or at most 1 MiB if no size is given."""
        if size is not None and size > self._most:
            raise ValueError(f"a read of {size:,} bytes at once")
        return self._stream.read(_PIECE if size is None or size < 0 else size)
