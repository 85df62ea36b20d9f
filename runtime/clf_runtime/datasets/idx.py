"""MNIST's idx files, packed by gzip or not: train-images-idx3-ubyte and train-labels-idx1-ubyte, t10k-... beside them.

A file is two zeros, a code of the dtype, the number of axes, their lengths, and the values, all numbers big-endian
(https://yann.lecun.com/exdb/mnist/). The test part is called t10k or test; Fashion-MNIST's and EMNIST's are so too.
"""

import functools
import gzip
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from clf_runtime.datasets.listing import visible
from clf_runtime.datasets.places import Place, open_place
from clf_runtime.datasets.source import MAX_LABEL_BYTES, Part, Reading, Source, kept, source_of
from clf_runtime.errors import ClfError, ImageError, brief
from clf_runtime.inputs.arrays import MAX_ARRAY_BYTES
from clf_runtime.inputs.npy import NpyHeader, read_data, read_rows

KNOWN = "MNIST's idx files, train-images-idx3-ubyte and its like, packed or not"
_LAYOUT = "idx arrays"
_NAME = re.compile(
    r"(?P<set>.*?)(?P<part>train|t10k|test|val|valid)[-_](?P<kind>images|labels)[-._]idx[1-4][-_]ubyte(?:\.gz)?", re.I
)
_PARTS = {"train": "train", "t10k": "test", "test": "test", "val": "validation", "valid": "validation"}
_DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MAX_AXES = 4
_PIECE_BYTES = 1 << 20

Pair = dict[str, Place]


def recognises(path: Place) -> bool:
    """Whether a folder holds a file that is named as MNIST's are."""
    return path.is_dir() and any(_NAME.fullmatch(entry.name) for entry in visible(path))


def look(path: Place, reading: Reading) -> Source:
    """Look which files are there. Raises ImageError if one of a pair is missing, or there are several sets."""
    pairs: dict[str, Pair] = {}
    sets: dict[str, str] = {}
    for entry in visible(path):
        match = _NAME.fullmatch(entry.name)
        if match is None:
            continue
        sets.setdefault(match["set"].lower(), entry.name)
        pair = pairs.setdefault(_PARTS[match["part"].lower()], {})
        kind = match["kind"].lower()
        if kind not in pair or pair[kind].suffix == ".gz":  # both are there where torchvision has unpacked them
            pair[kind] = entry
    if len(sets) > 1:
        raise ImageError(f"{path}: several sets ({', '.join(sorted(sets.values()))}); keep one of them in the folder")
    for part, pair in pairs.items():
        for missing in {"images", "labels"} - pair.keys():
            (there,) = pair.values()
            raise ImageError(f"{there}: the {missing} of the {part} part are missing beside it")
    parts = {part: functools.partial(_open, pair["images"], pair["labels"]) for part, pair in pairs.items()}
    return source_of(_LAYOUT, str(path), {**parts})


def _open(images: Place, labels: Place) -> Part:
    header = _check(images)
    if len(header.shape) not in (3, 4):
        raise ImageError(f"{images}: an array of {len(header.shape)} axes; wanted: images x height x width")
    return Part(
        str(images),
        header.shape[0],
        header.shape[1:],
        functools.partial(_labels, labels),
        functools.partial(_blocks, images, header),
        lambda i: f"{images}[{i}]",
    )


def _labels(file: Place) -> np.ndarray:
    header = _check(file)
    with _open_values(file) as stream:
        _header(stream, file)
        return read_data(stream, header, str(file), MAX_LABEL_BYTES)


def _blocks(file: Place, same: NpyHeader, size: int, keep: np.ndarray | None) -> Iterator[np.ndarray]:
    with _open_values(file) as stream:
        if _header(stream, file) != same:
            raise ImageError(f"{file}: the file was replaced or modified while it was read")
        yield from kept(read_rows(stream, same, str(file), size, MAX_ARRAY_BYTES), keep)


def _check(file: Place) -> NpyHeader:
    """The header of a file, held against all that follows it; of a packed one up to its checksum."""
    with _open_values(file) as stream:
        header, there = _header(stream, file), 0
        while piece := stream.read(_PIECE_BYTES):
            there += len(piece)
            if there > header.data_bytes:
                break
    if there != header.data_bytes:
        raise ImageError(
            f"{file}: damaged or cut short: its header says {header.data_bytes:,} bytes, there are "
            f"{'more' if there > header.data_bytes else f'{there:,}'}"
        )
    return header


def _header(stream: IO[bytes], file: Place) -> NpyHeader:
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _DTYPES or not 1 <= start[3] <= _MAX_AXES:
        raise ImageError(f"{file}: no idx file, or damaged in its first bytes")
    lengths = stream.read(4 * start[3])
    if len(lengths) < 4 * start[3]:
        raise ImageError(f"{file}: cut short in its first bytes")
    shape, dtype = tuple(np.frombuffer(lengths, ">u4").tolist()), np.dtype(_DTYPES[start[2]])
    return NpyHeader(shape, dtype, False, math.prod(shape) * dtype.itemsize)


@contextmanager
def _open_values(file: Place) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if they are packed."""
    with open_place(file) as stream:
        is_packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        try:
            if is_packed:
                with gzip.open(stream) as unpacked:
                    yield unpacked  # type: ignore[misc]
            else:
                yield stream
        except (ClfError, MemoryError):
            raise
        except Exception as error:  # BadGzipFile, EOFError, zlib.error
            raise ImageError(f"{file}: damaged or cut short: {brief(error, 120)}") from None
