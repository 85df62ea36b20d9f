"""A stream that does not end, read without waiting for more than the next image needs: `.npy` records, or paths."""

import os
from collections.abc import Iterator
from io import BufferedIOBase

import numpy as np

from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import BLOCK, MAX_ARRAY_BYTES, MAX_BLOCK_BYTES, check_header
from clf_runtime.inputs.files import in_blocks, numbered
from clf_runtime.inputs.npy import read_data, read_header, read_rows
from clf_runtime.model.card import ModelCard

MAX_LINE_BYTES = 1 << 12  # as long as a path may be on Linux
_START = b"\x93NUMPY"
_BEFORE = len(_START) - 1  # bytes of a start that may stand before what is looked at
_PIECE = 1 << 16
_KINDS = {
    b"PK\3\4": "an .npz or another zip archive",
    b"PK\5\6": "an empty .npz or another zip archive",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


def read_paths(stream: BufferedIOBase, first: bytes = b"") -> Iterator[str | ImageError]:
    r"""Yield the lines of a stream, of which `first` was taken already, without their `\n` or `\r\n`, if not empty.

    A line of more than MAX_LINE_BYTES or with a NUL is no path: it is an ImageError in their midst. Raises OSError.
    """
    number = 0
    while True:
        line, end, first = first.partition(b"\n")
        line += end or stream.readline(MAX_LINE_BYTES + 1 - len(line))
        if not line:
            return
        number += 1
        if len(line) > MAX_LINE_BYTES:
            while not line.endswith(b"\n") and (line := stream.readline(MAX_LINE_BYTES)):
                pass
            yield ImageError(f"standard input: line {number:,} has more than {MAX_LINE_BYTES:,} bytes")
        elif b"\0" in line:
            yield ImageError(f"standard input: line {number:,} is no path, nor the start of a .npy record")
        elif path := os.fsdecode(line.rstrip(b"\r\n")):
            yield path


def foreign_kind(start: bytes) -> str | None:
    """What a stream that starts so holds, in words, if it can be no lines of paths; None if it may be some."""
    for magic, kind in _KINDS.items():
        if start.startswith(magic):
            return kind
    line = start.partition(b"\n")[0].rstrip(b"\r")
    if any(byte < 0x20 and byte not in b"\t\n\r" for byte in start) and (b"\0" in line or not os.path.lexists(line)):
        return "binary data that is no .npy record"
    return None


class Records:
    """A stream of `.npy` records, written one after another by `numpy.save`.

    A record that is damaged or not for the model costs itself only: reading goes on where the next one starts. Within
    the data of a record no start of another may stand, so that one that was cut short does not swallow the next.
    """

    def __init__(self, stream: BufferedIOBase, first: bytes = b"") -> None:
        """Read from `stream`, after the bytes `first`, which have been taken from it already."""
        self._stream = stream
        self._bytes, self._at = first, 0
        self._mark: int | None = None  # where bytes must be kept from
        self._in_data = False
        self._cut = False

    def next(self, card: ModelCard, where: str) -> Iterator[tuple[int | None, np.ndarray]]:
        """Yield a record as `read_images` does a file. Raises ImageError for this record only, and OSError."""
        self._mark, self._in_data, self._cut = self._at, False, False
        try:
            header = read_header(self, where)  # type: ignore[arg-type]  # it is only read from
        except ImageError:
            start, self._at = self._mark, self._mark + 1
            if (before := self._bytes.find(_START, max(start - _BEFORE, 0), start + _BEFORE)) >= 0:
                self._at = before
                raise ImageError(f"{where}: the record before it was cut short: its answer is not to be used") from None
            raise
        finally:
            self._mark = None
        self._in_data = True
        is_batch = check_header(header, card, where)
        if is_batch and not header.fortran_order:
            yield from numbered(read_rows(self, header, where, BLOCK, MAX_BLOCK_BYTES))  # type: ignore[arg-type]
        else:
            yield from in_blocks(read_data(self, header, where, MAX_ARRAY_BYTES), is_batch)  # type: ignore[arg-type]

    def more(self) -> bool:
        """Wait for the next byte, and tell whether there is one."""
        return self._at < len(self._bytes) or self._take(self._stream.read1(1))

    def seek_start(self) -> bool:
        """Go on to the next start of a record, and tell whether there is one before the stream ends."""
        while (found := self._bytes.find(_START, self._at)) < 0:
            self._at = max(self._at, len(self._bytes) - _BEFORE)
            if not self._take(self._stream.read1(_PIECE)):
                return False
        self._at = found
        return True

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer where the stream ends or, within data, another record starts."""
        missing = self._at + size - len(self._bytes)
        if missing > 0 and not self._cut:
            self._take(self._stream.read(missing))
        end = min(self._at + size, len(self._bytes))
        if self._in_data:
            found = self._at if self._cut else self._bytes.find(_START, max(self._at - _BEFORE, 0), end)
            if found >= 0:
                self._cut, end = True, found
        data, self._at = self._bytes[self._at : end], end
        return data

    def _take(self, piece: bytes) -> bool:
        """Hold more bytes, forget those that are done with, and tell whether there were more."""
        low = max((self._at if self._mark is None else self._mark) - _BEFORE, 0)
        self._bytes, self._at = self._bytes[low:] + piece, self._at - low
        if self._mark is not None:
            self._mark -= low
        return bool(piece)
