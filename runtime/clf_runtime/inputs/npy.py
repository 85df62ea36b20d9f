"""Read untrusted `.npy` data: the header is bounded and checked before memory is allocated.

The format is numpy's own, versions 1.0 and 2.0 (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
`np.load(allow_pickle=False)` executes no pickle either, but lets a tiny file request a terabyte.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any

import numpy as np

from clf_runtime.errors import ImageError

MAX_HEADER_BYTES = 10_000
MAX_DIMENSIONS = 8
_MOST = 2**63 - 1  # of a size in a header, on a 32-bit processor too
_PIECE = 1 << 20  # bytes per read of a stream
# A header is the text of a Python dict of three entries, in any order; Python 2 wrote an L after large numbers.
# numpy's own parser temporarily changes the warning filters, which are global to the process: not thread-safe.
_NUMBER = r"(?:0|[1-9][0-9]{0,18})L?"
_ENTRY = re.compile(
    r"""(['"])(?:descr\1\s*:\s*(?P<descr>'[^'\\]*'|"[^"\\]*")|fortran_order\1\s*:\s*(?P<order>True|False)"""
    rf"""|shape\1\s*:\s*\(\s*(?P<shape>(?:(?:{_NUMBER}\s*,\s*)+(?:{_NUMBER}\s*)?)?)\))\s*(?:,\s*|\Z)"""
)
_RECORDS = re.compile(r"""['"]descr['"]\s*:\s*[\[(]""")
_DTYPE = re.compile(r"[<>|=]?[?bBhHiIlLqQefdgFDGucSU][0-9]{0,9}")


@dataclass(frozen=True)
class NpyHeader:
    """The shape, dtype and order of an array in a `.npy` stream, and the size of its data in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    data_bytes: int


def read_header(stream: IO[bytes], where: str) -> NpyHeader:
    """Read a header and leave `stream` at the first byte of the data.

    Raises ImageError, naming `where`, if it is not a `.npy`, of an unknown version, of Python objects, or invalid.
    """
    start = stream.read(8)
    if len(start) < 8 or start[:6] != b"\x93NUMPY":
        raise ImageError(f"{where}: not a .npy file, or truncated in its first bytes")
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0)):
        raise ImageError(f"{where}: .npy version {version[0]}.{version[1]} is not supported; save it with numpy.save")
    size_bytes = stream.read(2 if version == (1, 0) else 4)
    size = int.from_bytes(size_bytes, "little")
    if size > MAX_HEADER_BYTES:
        raise ImageError(f"{where}: damaged .npy: a header of {size:,} bytes")
    text = stream.read(size).decode("latin1")
    try:
        return _parse(text)
    except ImageError as error:
        raise ImageError(f"{where}: {error}") from None


@lru_cache(maxsize=16)  # files of a folder and records of a stream usually have the same header
def _parse(text: str) -> NpyHeader:
    """Parse the text of a header. Raises ImageError, which does not name the file."""
    text = text.strip()
    body, at, found = text[1:-1].strip(), 0, dict[str, str]()
    while match := _ENTRY.match(body, at):
        [(name, value)] = ((name, value) for name, value in match.groupdict().items() if value is not None)
        if name in found:
            break
        found[name], at = value, match.end()
    if at < len(body) or len(found) < 3 or text[:1] != "{" or text[-1:] != "}":
        if _RECORDS.search(text):
            raise ImageError("structured dtype with several fields; save plain numbers")
        raise ImageError("damaged .npy header")
    shape = tuple(int(n.strip().rstrip("L")) for n in found["shape"].split(",") if n.strip())
    descr = found["descr"][1:-1]
    if descr.lstrip("<>|=").startswith("O"):
        raise ImageError("contains Python objects (a pickle), which are never loaded; save plain numbers")
    if not _DTYPE.fullmatch(descr):
        raise ImageError(f"values of dtype {descr[:60]!r}; save plain numbers")
    try:
        dtype = np.dtype(descr)
    except Exception:  # TypeError, ValueError, ...
        raise ImageError(f"damaged .npy header: dtype {descr[:60]!r}") from None
    if len(shape) > MAX_DIMENSIONS:
        raise ImageError(f"damaged .npy header: shape {str(shape)[:60]}")
    if dtype.itemsize == 0 or any(n > _MOST for n in (*shape, math.prod(n or 1 for n in shape) * dtype.itemsize)):
        raise ImageError(f"damaged .npy header: {str(dtype)[:20]} of shape {str(shape)[:60]}")
    return NpyHeader(shape, dtype, found["order"] == "True", math.prod(shape) * dtype.itemsize)


def read_data(stream: IO[bytes], header: NpyHeader, where: str, max_bytes: int) -> np.ndarray:
    """Read one whole array after its header. Raises ImageError if it exceeds `max_bytes`, or is truncated."""
    if header.data_bytes > max_bytes:
        raise ImageError(f"{where}: an array of {header.data_bytes:,} bytes exceeds the limit of {max_bytes:,}")
    flat = np.frombuffer(_read_exactly(stream, header.data_bytes, where), header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def read_rows(stream: IO[bytes], header: NpyHeader, where: str, rows: int, max_bytes: int) -> Iterator[np.ndarray]:
    """Yield an array in C order as blocks of up to `rows` rows of its first axis, each block freshly read.

    Blocks have fewer rows if `rows` of them exceed `max_bytes`.
    Nothing is memory-mapped: a mapped file that shrinks while it is read kills the process, a read only fails.
    Raises ImageError if one row exceeds `max_bytes`, or the data is truncated.
    """
    row_shape = header.shape[1:]
    row_bytes = math.prod(row_shape) * header.dtype.itemsize
    if row_bytes > max_bytes:
        raise ImageError(f"{where}: one row of {row_bytes:,} bytes exceeds the limit of {max_bytes:,}")
    rows = min(rows, max_bytes // max(row_bytes, 1))
    for first in range(0, header.shape[0], rows):
        count = min(rows, header.shape[0] - first)
        data = _read_exactly(stream, count * row_bytes, where)
        yield np.frombuffer(data, header.dtype).reshape(count, *row_shape)


def _read_exactly(stream: IO[bytes], size: int, where: str) -> bytes | np.ndarray:
    data: bytes | np.ndarray
    if size <= _PIECE:
        data = stream.read(size)
        there = len(data)
    else:
        data, there = np.empty(size, np.uint8), 0  # pages are allocated only as they are filled
        while piece := stream.read(min(_PIECE, size - there)):
            data[there : there + len(piece)] = np.frombuffer(piece, np.uint8)
            there += len(piece)
    if there < size:
        raise ImageError(f"{where}: truncated: {size - there:,} bytes of the array are missing")
    return data
