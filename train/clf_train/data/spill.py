"""Arrays for images that may exceed the memory: a large one is mapped from a temporary file.

The file has no name, so nothing is left of it however the process ends. The system can write its pages to disk when
memory is short, unless the temporary folder is itself in memory (tmpfs): then set TMPDIR to one on a disk.
"""

import errno
import math
import mmap
import os
import shutil
import tempfile
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from clf_train.errors import DataError

SPILL_BYTES = 256 << 20  # per array in memory; at most four exist at once, 1 GiB together
_PIECE_BYTES = 16 << 20
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Make a writable array in C order: uninitialised in memory up to SPILL_BYTES, else zeros in a mapped file.

    Raises DataError if the temporary folder has no room, so that no later write can fail.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size <= SPILL_BYTES:
        return np.empty(shape, kind)
    return np.ndarray(shape, kind, _map_temporary(size))


def convert(array: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Copy an array into another dtype, as `astype` does, without its peak memory. Raises DataError as `empty`."""
    converted = empty(array.shape, dtype)
    np.copyto(converted, array, casting="unsafe")
    return converted


def take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Copy some rows, int64 [M], of an array [N, ...] into one of [M, ...]. Raises DataError as `empty`."""
    taken = empty((len(rows), *array.shape[1:]), array.dtype)
    step = max(1, _PIECE_BYTES // max(1, math.prod(array.shape[1:]) * array.itemsize))
    for first in range(0, len(rows), step):  # np.take would first copy a whole channels-last array
        taken[first : first + step] = array[rows[first : first + step]]
    return taken


def _map_temporary(size: int) -> mmap.mmap:
    """Map a new file without a name, whose `size` bytes are reserved: a later write could find the disk full."""
    folder = "the temporary folder"
    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        if free < size:  # else a header that claims a terabyte would fill the disk first
            raise OSError(errno.ENOSPC, f"{free:,} are free")
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file, size)
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise DataError(
            f"{folder}: no room for a temporary file of {size:,} bytes for images ({error.strerror or error}); "
            "set TMPDIR to a folder on a disk that has it"
        ) from None


def _reserve(file: IO[bytes], size: int) -> None:
    """Allocate `size` bytes of zeros for a new file on the disk. Raises OSError if there is no room."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
        return
    except AttributeError:  # macOS, Windows
        pass
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
    zeros = bytes(1 << 20)
    for first in range(0, size, len(zeros)):
        file.write(zeros[: size - first])
    file.flush()
