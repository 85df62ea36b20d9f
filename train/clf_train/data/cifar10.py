"""The official CIFAR-10 archives, binary and python version, packed or not, and the download of the binary one.

Layouts and checksum: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import lzma
import sys
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from clf_runtime.errors import brief
from clf_train.data.cifar10_pickle import unpickle
from clf_train.data.dataset import Part, Parts
from clf_train.data.listing import refuse_extra
from clf_train.errors import DataError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CHECKSUM = "md5:c32a1d4ab5d03f1284b67883e8d87530"  # as that page publishes it

FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_BINARY = (*(f"{name}.bin" for name in _BATCHES), "batches.meta.txt")
_PYTHON = (*_BATCHES, "batches.meta")
_IMAGE_BYTES = 3 * 32 * 32
_MAX_MEMBER_BYTES = 256 << 20


def recognises(path: Path) -> bool:
    """Whether a folder holds a batch of either version, or a file is a tar archive."""
    if path.is_dir():
        return any((path / name).is_file() for name in (*_BINARY, *_PYTHON))
    try:
        return path.is_file() and tarfile.is_tarfile(path)
    except (EOFError, ValueError, zlib.error):  # packed, but cut or damaged in its first bytes: read says so
        return True


def read(path: Path) -> Parts:
    """Read either version into memory, uint8 [N, 3, 32, 32]."""
    members = _read_folder(path) if path.is_dir() else _read_archive(path)
    is_binary = any(name in members for name in _BINARY[:6])
    wanted = _BINARY if is_binary else _PYTHON
    for name in wanted:
        if name not in members:
            raise DataError(f"{path / name}: missing from the CIFAR-10 {'binary' if is_binary else 'python'} version")
    decode = _decode_binary if is_binary else _decode_python
    batches = [decode(members.pop(name), f"{path / name}") for name in wanted[:6]]
    meta = members[wanted[6]]
    names = _binary_names(meta, path) if is_binary else _python_names(meta, path)
    train = Part(np.concatenate([b[0] for b in batches[:5]]), np.concatenate([b[1] for b in batches[:5]]), str(path))
    layout = f"CIFAR-10, {'binary' if is_binary else 'python'} version"
    return Parts(layout, train, Part(*batches[5], str(path / wanted[5])), names)


def download_and_read() -> Parts:
    """Download the binary version once into the user's cache, check it against its published checksum, and read it."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        file = pooch.retrieve(
            URL,
            CHECKSUM,
            fname="cifar-10-binary.tar.gz",
            path=pooch.os_cache("clf-edge"),
            progressbar=sys.stderr.isatty(),
        )
    except Exception as error:  # pooch lets requests' and urllib3's exceptions through, and raises ValueError itself
        raise DataError(f"cifar10: cannot be downloaded from {URL}: {brief(error)}") from None
    return read(Path(file))


def _read_folder(path: Path) -> dict[str, bytes]:
    is_binary = any((path / name).is_file() for name in _BINARY)
    refuse_extra(path, _BINARY if is_binary else _PYTHON, "the CIFAR-10 archive")
    members = {}
    for name in _BINARY if is_binary else _PYTHON:
        if (path / name).is_file():
            if (path / name).stat().st_size > _MAX_MEMBER_BYTES:
                raise DataError(f"{path / name}: larger than a batch of CIFAR-10 may be")
            members[name] = (path / name).read_bytes()
    return members


def _read_archive(path: Path) -> dict[str, bytes]:
    """Read the batches out of a tar archive in one pass; nothing is extracted, so no path in it is followed."""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for info in archive:
                if info.size < 0:  # Python before 3.11.14 would come back to it for ever (CVE-2025-8194)
                    raise DataError(f"{path}: damaged: a member of {info.size} bytes")
                name = PurePosixPath(info.name).name
                if not info.isfile() or name not in (*_BINARY, *_PYTHON):
                    continue
                if name in members or info.size > _MAX_MEMBER_BYTES:
                    raise DataError(f"{path}: {name} is there twice, or larger than a batch of CIFAR-10 may be")
                stream = archive.extractfile(info)
                assert stream is not None
                members[name] = stream.read()
            while archive.fileobj is not None and archive.fileobj.read(1 << 20):
                pass  # up to the end, where gzip, bzip2 and xz check their checksums
    except DataError:  # a ValueError too
        raise
    except (tarfile.TarError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: damaged or cut short: {error}") from None
    if not members:
        raise DataError(f"{path}: an archive without the batches of CIFAR-10")
    return members


def _decode_binary(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label byte and 3,072 bytes, planes R, G, B."""
    if not data or len(data) % (1 + _IMAGE_BYTES):
        raise DataError(f"{where}: {len(data):,} bytes, not a whole number of records of 3,073")
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _IMAGE_BYTES)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _decode_python(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """A dict with b"data", uint8 [N, 3072], and b"labels", a list."""
    batch = unpickle(data, where)
    images, labels = batch.get("data"), batch.get("labels")
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != _IMAGE_BYTES:
        raise DataError(f"{where}: no array named data of N x 3072")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise DataError(f"{where}: no list of numbers named labels")
    if len(labels) != len(images):
        raise DataError(f"{where}: {len(images):,} images, but {len(labels):,} labels")
    return images.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


def _binary_names(meta: bytes, path: Path) -> tuple[str, ...]:
    names = tuple(meta.decode("utf-8", "replace").split())
    return _plausible(names, path / _BINARY[6])


def _python_names(meta: bytes, path: Path) -> tuple[str, ...]:
    names = unpickle(meta, str(path / _PYTHON[6])).get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path / _PYTHON[6]}: no list of texts named label_names")
    return _plausible(tuple(names), path / _PYTHON[6])


def _plausible(names: tuple[str, ...], where: Path) -> tuple[str, ...]:
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{where}: no list of class names")
    return names
