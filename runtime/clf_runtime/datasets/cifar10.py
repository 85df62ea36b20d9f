"""The binary version of CIFAR-10: its folder, of which the test batch is read, or one batch.

Records are one label byte and 3,072 bytes, planes R, G, B (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clf_runtime.bounded import open_regular, read_bounded, stamp
from clf_runtime.datasets.source import Block, Source, recut
from clf_runtime.errors import ImageError

FOLDER = "cifar-10-batches-bin"
_TEST = "test_batch.bin"
_META = "batches.meta.txt"
_RECORD = 1 + 3 * 32 * 32
_MAX_META_BYTES = 10_000
_LABELS_AT_ONCE = 4096


def recognises(path: Path) -> bool:
    """Whether this is a folder with the test batch, or a file named `.bin`."""
    return (path / _TEST).is_file() or (path.is_file() and path.suffix.lower() == ".bin")


def look(path: Path) -> Source:
    """Look at a batch: uint8 images [N, 3, 32, 32]. Raises ImageError if it is no whole number of records."""
    file = path / _TEST if path.is_dir() else path
    status = file.stat()
    size, same = status.st_size, stamp(status)
    if not size or size % _RECORD:
        raise ImageError(f"{file}: {size:,} bytes, not a whole number of CIFAR-10's records of {_RECORD:,}")
    count = size // _RECORD
    return Source(
        layout="CIFAR-10, binary version",
        where=str(file),
        images=count,
        names=_names(file.with_name(_META)),
        is_test_part=file.name == _TEST,
        labels=functools.partial(_labels, file, same, count),
        blocks=functools.partial(_blocks, file, same, count),
    )


def _names(meta: Path) -> tuple[str, ...] | None:
    if not meta.is_file():
        return None
    text = read_bounded(meta, _MAX_META_BYTES)
    names = tuple((text or b"").decode("utf-8", "replace").split())
    if len(names) < 2 or len(set(names)) < len(names):
        raise ImageError(f"{meta}: no list of class names")
    return names


def _labels(file: Path, same: tuple[int, ...], count: int) -> np.ndarray:
    blocks = [records[:, 0].astype(np.int64) for _, records in _records(file, same, count, _LABELS_AT_ONCE)]
    return np.concatenate(blocks)


def _blocks(file: Path, same: tuple[int, ...], count: int, size: int, keep: np.ndarray | None) -> Iterator[Block]:
    return recut(_kept(file, same, count, size, keep), size)


def _kept(file: Path, same: tuple[int, ...], count: int, size: int, keep: np.ndarray | None) -> Iterator[Block]:
    for first, records in _records(file, same, count, size):
        rows = np.arange(len(records)) if keep is None else np.flatnonzero(keep[first : first + len(records)])
        images = records[rows, 1:].reshape(-1, 3, 32, 32)
        yield Block(images, records[rows, 0].astype(np.int64), [f"{file}[{first + i}]" for i in rows])


def _records(file: Path, same: tuple[int, ...], count: int, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of the first, uint8 [n, 3073]); the file is read, not mapped, since it may shrink meanwhile."""
    with open_regular(file) as stream:
        if stamp(os.fstat(stream.fileno())) != same:
            raise ImageError(f"{file}: another file than the one that was looked at, or changed since")
        for first in range(0, count, size):
            wanted = min(size, count - first) * _RECORD
            data = stream.read(wanted)
            if len(data) < wanted:
                raise ImageError(f"{file}: cut short while it was read, at byte {os.fstat(stream.fileno()).st_size:,}")
            yield first, np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
