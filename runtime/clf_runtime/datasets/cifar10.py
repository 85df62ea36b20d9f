"""CIFAR-10 as its authors give it: the binary and the python version, folders or packed, or one batch of the binary.

A binary batch is records of one label byte and 3,072 bytes, planes R, G, B; a python batch is a pickle of the same
(https://www.cs.toronto.edu/~kriz/cifar.html). Of a folder `test_batch` is enough, with or without the names.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clf_runtime.bounded import open_regular, read_bounded, stamp
from clf_runtime.datasets import tar
from clf_runtime.datasets.listing import refuse_extra
from clf_runtime.datasets.pickles import unpickle
from clf_runtime.datasets.source import Part, Reading, Source, kept, part_of
from clf_runtime.errors import ImageError

KNOWN = "the CIFAR-10 binary or python version, a folder or packed, or its test batch alone"
_FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
_RECORD = 1 + 3 * 32 * 32
_MAX_MEMBER_BYTES = 256 << 20
_LABELS_AT_ONCE = 512
_Decoder = Callable[[bytes, str], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class _Version:
    """The names of a version's files."""

    name: str
    train: tuple[str, ...]
    test: str
    meta: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.meta)


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_BINARY = _Version("binary", tuple(f"{name}.bin" for name in _BATCHES), "test_batch.bin", "batches.meta.txt")
_PYTHON = _Version("python", _BATCHES, "test_batch", "batches.meta")


def recognises(path: Path) -> bool:
    """Whether a folder, or an archive's folder in it, holds a batch; or a file is one, or a tar archive with one."""
    if path.is_dir():
        return _folder(path) is not None
    return path.is_file() and (
        path.suffix.lower() == ".bin" or (tar.is_tar(path) and tar.holds_any(path, (*_BINARY.files, *_PYTHON.files)))
    )


def look(path: Path, reading: Reading) -> Source:
    """Look which batches are there, and read the class names; an archive is read in one pass, nothing is extracted."""
    if path.is_dir():
        folder = _folder(path)
        assert folder is not None
        return _look_at_folder(folder)
    if path.suffix.lower() == ".bin":
        names = _names(_BINARY, path.with_name(_BINARY.meta))
        train = functools.partial(_binary_part, [path], str(path))
        return Source("CIFAR-10, binary version", str(path), train, None, names, is_test=path.name == _BINARY.test)
    return _look_at_archive(path)


def _folder(path: Path) -> Path | None:
    """Where the batches lie: the folder itself, or the one folder in it that is named as in the official archives."""
    if any((path / name).is_file() for name in (*_BINARY.files, *_PYTHON.files)):
        return path
    inner = [path / name for name in _FOLDERS if (path / name).is_dir()]
    return inner[0] if len(inner) == 1 and _folder(inner[0]) is not None else None


def _look_at_folder(path: Path) -> Source:
    version = _BINARY if any((path / name).is_file() for name in _BINARY.files) else _PYTHON
    refuse_extra(path, version.files, "the CIFAR-10 archive")
    has_train = _is_whole(path, version, {name for name in version.files if (path / name).is_file()})
    read = _binary_part if version is _BINARY else _python_part
    train = functools.partial(read, [path / name for name in version.train], str(path)) if has_train else None
    test = functools.partial(read, [path / version.test], str(path / version.test))
    return Source(f"CIFAR-10, {version.name} version", str(path), train, test, _names(version, path / version.meta))


def _is_whole(path: Path, version: _Version, there: set[str]) -> bool:
    """Whether all batches are there, and not the test batch alone. Raises ImageError if only some are."""
    if version.test in there and not there.intersection(version.train):
        return False
    for name in version.files:
        if name not in there:
            raise ImageError(f"{path / name}: missing from the CIFAR-10 {version.name} version")
    return True


def _names(version: _Version, file: Path) -> tuple[str, ...] | None:
    return _parse_names(version, _read(file), file) if file.is_file() else None


def _parse_names(version: _Version, meta: bytes, file: Path) -> tuple[str, ...]:
    if version is _BINARY:
        names = tuple(meta.decode("utf-8", "replace").split())
    else:
        listed = unpickle(meta, str(file)).get("label_names")
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise ImageError(f"{file}: no list of texts named label_names")
        names = tuple(listed)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ImageError(f"{file}: no list of class names")
    return names


def _read(file: Path) -> bytes:
    data = read_bounded(file, _MAX_MEMBER_BYTES)
    if data is None:
        raise ImageError(f"{file}: larger than a batch of CIFAR-10 may be")
    return data


# The binary version in files, a few records at a time.


@dataclass(frozen=True)
class _Batch:
    file: Path
    stamp: tuple[int, ...]
    count: int


def _binary_part(files: Sequence[Path], where: str) -> Part:
    batches = [_look_at_batch(file) for file in files]

    def place(i: int) -> str:
        for batch in batches:
            if i < batch.count:
                return f"{batch.file}[{i}]"
            i -= batch.count
        raise IndexError(i)

    def labels() -> np.ndarray:
        return np.concatenate([records[:, 0].copy() for records in _records(batches, _LABELS_AT_ONCE)])

    def blocks(size: int, keep: np.ndarray | None) -> Iterator[np.ndarray]:
        return kept((records[:, 1:].reshape(-1, 3, 32, 32) for records in _records(batches, size)), keep)

    return Part(where, sum(batch.count for batch in batches), (3, 32, 32), labels, blocks, place)


def _look_at_batch(file: Path) -> _Batch:
    status = file.stat()
    _check_size(status.st_size, str(file))
    return _Batch(file, stamp(status), status.st_size // _RECORD)


def _check_size(size: int, where: str) -> None:
    if not size or size % _RECORD:
        raise ImageError(f"{where}: {size:,} bytes, not a whole number of records of {_RECORD:,}")


def _records(batches: Sequence[_Batch], size: int) -> Iterator[np.ndarray]:
    """Yield uint8 [n, 3073]; the files are read, not mapped, since they may shrink meanwhile."""
    for batch in batches:
        with open_regular(batch.file) as stream:
            if stamp(os.fstat(stream.fileno())) != batch.stamp:
                raise ImageError(f"{batch.file}: the file was replaced or modified while it was read")
            for first in range(0, batch.count, size):
                wanted = min(size, batch.count - first) * _RECORD
                data = stream.read(wanted)
                if len(data) < wanted:
                    there = os.fstat(stream.fileno()).st_size
                    raise ImageError(f"{batch.file}: cut short while it was read, at byte {there:,}")
                yield np.frombuffer(data, np.uint8).reshape(-1, _RECORD)


# The python version and archives, in memory.


def _python_part(files: Sequence[Path], where: str) -> Part:
    return _joined([_decode_python(_read(file), str(file)) for file in files], where)


def _joined(batches: Sequence[tuple[np.ndarray, np.ndarray]], where: str) -> Part:
    images, labels = batches[0] if len(batches) == 1 else map(np.concatenate, zip(*batches, strict=True))
    return part_of(images, labels, where)


def _decode_binary(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    _check_size(len(data), where)
    records = np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _decode_python(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """A dict with b"data", uint8 [N, 3072], and b"labels", a list."""
    batch = unpickle(data, where)
    images, labels = batch.get("data"), batch.get("labels")
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != _RECORD - 1:
        raise ImageError(f"{where}: no array named data of N x 3072")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise ImageError(f"{where}: no list of numbers named labels")
    if len(labels) != len(images):
        raise ImageError(f"{where}: {len(images):,} images, but {len(labels):,} labels")
    return images.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


def _look_at_archive(path: Path) -> Source:
    there = _unpack(path, (_BINARY.test, _BINARY.meta, _PYTHON.test, _PYTHON.meta))
    version = _BINARY if any(name in there for name in (*_BINARY.train, _BINARY.test)) else _PYTHON
    has_train = _is_whole(path, version, set(there))
    decode = _decode_binary if version is _BINARY else _decode_python
    names = _parse_names(version, there[version.meta], path / version.meta) if version.meta in there else None
    test = functools.partial(_archived, {version.test: there[version.test]}, (version.test,), path, decode)

    def train() -> Part:
        return _archived(_unpack(path, version.train), version.train, path, decode)

    return Source(f"CIFAR-10, {version.name} version", str(path), train if has_train else None, test, names)


def _archived(members: dict[str, bytes], names: Sequence[str], path: Path, decode: _Decoder) -> Part:
    where = str(path / names[0]) if len(names) == 1 else str(path)
    return _joined([decode(members.pop(name), str(path / name)) for name in names], where)


def _unpack(path: Path, wanted: Sequence[str]) -> dict[str, bytes]:
    """The batches that are there, empty but for those that are wanted."""
    members = tar.read_members(path, (*_BINARY.files, *_PYTHON.files), wanted, _MAX_MEMBER_BYTES)
    if not members:
        raise ImageError(f"{path}: an archive without the batches of CIFAR-10")
    return members
