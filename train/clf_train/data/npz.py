"""`.npz` archives of numpy: one file, or a folder with train.npz and test.npz, each with images, labels and names."""

import os
import struct
import zipfile
from io import BufferedReader
from pathlib import Path
from typing import IO, Literal

import numpy as np

from clf_runtime.errors import ImageError
from clf_runtime.inputs.npy import NpyHeader, read_data, read_header
from clf_runtime.inputs.npz import as_texts
from clf_train.data import spill
from clf_train.data.dataset import Part, Parts, check_names
from clf_train.data.listing import refuse_extra
from clf_train.errors import DataError

_LAYOUT = "npz arrays"
_PIECE_BYTES = 1 << 20


def recognises(path: Path) -> bool:
    """Whether this is a zip file named `.npz`, or a folder with a `train.npz`."""
    return (path.is_file() and path.suffix.lower() == ".npz") or (path.is_dir() and (path / "train.npz").is_file())


def read(path: Path) -> Parts:
    """Read the arrays; large ones are mapped: from the archive if it does not compress them, else as spill does."""
    if path.is_file():
        train, names = _read_file(path)
        return Parts(_LAYOUT, train, names=names)
    refuse_extra(path, ("train.npz", "test.npz"), "a folder of .npz")
    train, names = _read_file(path / "train.npz")
    if not (path / "test.npz").is_file():
        return Parts(_LAYOUT, train, names=names)
    test, test_names = _read_file(path / "test.npz")
    if test_names is not None and names is None:
        raise DataError(
            f"{path / 'test.npz'}: holds class names and train.npz holds none, so nobody knows whether its labels "
            "count by them; add names to train.npz, or leave them out of test.npz"
        )
    if test_names is not None and test_names != names:
        raise DataError(f"{path / 'test.npz'}: its class names are not those of train.npz")
    return Parts(_LAYOUT, train, test, names)


def _read_file(path: Path) -> tuple[Part, tuple[str, ...] | None]:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members: dict[str, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if key in members:
                    raise DataError(f"{path}: holds {key} twice")
                members[key] = info
            for wanted in ("images", "labels"):
                if wanted not in members:
                    there = ", ".join(sorted(members)) or "nothing"
                    raise DataError(f"{path}: holds no array named {wanted} (it holds {there})")
            for key in sorted(members.keys() - {"images", "labels", "names"}):
                raise DataError(f"{path}: holds an array {key}, which is not read; wanted: images, labels, names")
            images, labels = (_read_member(archive, members[key], path, file) for key in ("images", "labels"))
            names = _read_member(archive, members["names"], path, file) if "names" in members else None
    except (DataError, OSError, MemoryError):
        raise
    except ImageError as error:
        raise DataError(str(error)) from None
    except Exception as error:  # of zipfile and its decompressors: BadZipFile, zlib.error, UnicodeDecodeError, ...
        raise DataError(f"{path}: not an .npz archive, or damaged: {error}") from None
    if names is None:
        return Part(images, labels, str(path)), None
    try:
        return Part(images, labels, str(path)), check_names(as_texts(names, str(path)), str(path))
    except ImageError as error:
        raise DataError(str(error)) from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, file: BufferedReader) -> np.ndarray:
    """Read one array, after the archive's own size of it has been held against its header, up to its checksum.

    `file` is the archive's, open; `path` names it.
    """
    where = f"{path}, {info.filename}"
    is_stored = info.compress_type == zipfile.ZIP_STORED
    with archive.open(info) as stream:
        header = read_header(stream, where)
        size = header.data_bytes
        if info.file_size != stream.tell() + size:
            raise DataError(f"{where}: damaged: its header claims {size:,} bytes, the archive another size")
        if is_stored and size > (most := os.fstat(file.fileno()).st_size):
            raise DataError(f"{where}: an array of {size:,} bytes; the most that is read is {most:,}")
        if size <= spill.SPILL_BYTES:
            return read_data(stream, header, where, spill.SPILL_BYTES)
        if is_stored:
            return _map(stream, info, header, file)
        unpacked = spill.empty((size,), np.uint8)
        for first in range(0, size, _PIECE_BYTES):
            piece = stream.read(min(_PIECE_BYTES, size - first))
            if len(piece) < min(_PIECE_BYTES, size - first):
                raise DataError(f"{where}: damaged or cut short")
            unpacked[first : first + len(piece)] = np.frombuffer(piece, np.uint8)
        return unpacked.view(header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")


def _map(stream: IO[bytes], info: zipfile.ZipInfo, header: NpyHeader, file: BufferedReader) -> np.ndarray:
    """Map the array of a member that is not compressed, read-only; `stream` stands at its first byte.

    What is mapped is the very file whose checksum was compared, not what its path may lead to by now.
    """
    start = stream.tell()
    while stream.read(_PIECE_BYTES):
        pass  # up to the end, where zipfile checks the checksum
    file.seek(info.header_offset + 26)  # the local header's 30 bytes end with the lengths of two fields after it
    start += info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
    order: Literal["C", "F"] = "F" if header.fortran_order else "C"
    return np.memmap(file, header.dtype, "r", start, header.shape, order).view(np.ndarray)
