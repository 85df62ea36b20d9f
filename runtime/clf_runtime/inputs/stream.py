"""Read an endless stream of `.npy` records or paths, without waiting for more than the next image needs."""

import os
from collections.abc import Iterator
from io import BufferedIOBase

import numpy as np

from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import BLOCK, MAX_ARRAY_BYTES, MAX_BLOCK_BYTES, check_header
from clf_runtime.inputs.files import in_blocks, numbered
from clf_runtime.inputs.npy import read_data, read_header, read_rows
from clf_runtime.model.card import ModelCard

MAX_LINE_BYTES = 1 << 12  # the maximum length of a path on Linux
_START = b"\x93NUMPY"
_BEFORE = len(_START) - 1  # bytes of a magic string that may precede the position
_PIECE = 1 << 16
_KINDS = {
    b"PK\3\4": "an .npz or another zip archive",
    b"PK\5\6": "an empty .npz or another zip archive",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}


def read_paths(stream: BufferedIOBase, first: bytes = b"") -> Iterator[str | ImageError]:
    r"""Yield the non-empty lines of a stream, whose start `first` has been read, without their `\n` or `\r\n`.

    For a line of more than MAX_LINE_BYTES or with a NUL an ImageError is yielded instead. Raises OSError.
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
            yield ImageError(f"standard input: line {number:,} exceeds the limit of {MAX_LINE_BYTES:,} bytes")
        elif b"\0" in line:
            yield ImageError(f"standard input: line {number:,} is neither a path nor the start of a .npy record")
        elif path := os.fsdecode(line.rstrip(b"\r\n")):
            yield path


def foreign_kind(start: bytes) -> str | None:
    """What a stream with this start holds, in words, if it cannot be lines of paths; None if it can."""
    for magic, kind in _KINDS.items():
        if start.startswith(magic):
            return kind
    line = start.partition(b"\n")[0].rstrip(b"\r")
    if any(byte < 0x20 and byte not in b"\t\n\r" for byte in start) and (b"\0" in line or not os.path.lexists(line)):
        return "binary data, not an .npy record"
    return None


class Records:
    """A stream of `.npy` records, written one after another by `numpy.save`.

    A record that is damaged or not valid for the model does not affect the others: reading continues at the next one.
    The start of a record may not occur in the data of another, so that a truncated one does not swallow the next.
    """

    def __init__(self, stream: BufferedIOBase, first: bytes = b"") -> None:
        """Read from `stream`, after the bytes `first`, which have been read already."""
        self._stream = stream
        self._bytes, self._at = first, 0
        self._mark: int | None = None  # where bytes must be kept from
        self._in_data = False
        self._cut = False

    def next(self, card: ModelCard, where: str) -> Iterator[tuple[int | None, np.ndarray]]:
        """Yield a record as `read_images` yields a file. Raises ImageError for this record only, and OSError."""
        self._mark, self._in_data, self._cut = self._at, False, False
        try:
            header = read_header(self, where)  # type: ignore[arg-type]  # it is only read from
        except ImageError:
            start, self._at = self._mark, self._mark + 1
            if (before := self._bytes.find(_START, max(start - _BEFORE, 0), start + _BEFORE)) >= 0:
                self._at = before
                raise ImageError(f"{where}: the previous record was truncated: its prediction is invalid") from None
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
        """Wait for the next byte; returns whether there is one."""
        return self._at < len(self._bytes) or self._take(self._stream.read1(1))

    def seek_start(self) -> bool:
        """Skip to the next start of a record; returns whether there is one before the stream ends."""
        while (found := self._bytes.find(_START, self._at)) < 0:
            self._at = max(self._at, len(self._bytes) - _BEFORE)
            if not self._take(self._stream.read1(_PIECE)):
                return False
        self._at = found
        return True

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer if the stream ends or, within data, another record starts."""
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
        """Append a piece to the buffer and drop what is no longer needed; returns whether there was one."""
        low = max((self._at if self._mark is None else self._mark) - _BEFORE, 0)
        self._bytes, self._at = self._bytes[low:] + piece, self._at - low
        if self._mark is not None:
            self._mark -= low
        return bool(piece)
