"""Files of `torch.save`, read without torch: a tensor, or a pair, list or dict of tensors.

A file is a zip archive with a pickle, which describes the tensors, and their storages, which are not compressed
(https://pytorch.org/docs/stable/notes/serialization.html).
"""

import functools
import itertools
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from clf_runtime.bounded import open_regular, stamp
from clf_runtime.datasets.pickles import Name, Record, UnknownNameError, read_pickle
from clf_runtime.datasets.source import MAX_LABEL_BYTES, Memory, Part, kept
from clf_runtime.errors import ImageError, brief
from clf_runtime.inputs.arrays import MAX_ARRAY_BYTES
from clf_runtime.inputs.npz import read_to_end, stored_at
from clf_runtime.inputs.zips import open_zip
from clf_runtime.system import physical_memory

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # a pickled number, with which such files start
_MAX_PICKLE_BYTES = 1 << 20
_MAX_DIMENSIONS = 8
_MAX_NESTED = 4
_MAX_VALUES = 200_000
_ROWS_AT_ONCE = 64
_STORAGES = {
    **{"Byte": "u1", "Char": "i1", "Short": "i2", "Int": "i4", "Long": "i8", "Bool": "?"},
    **{"Half": "f2", "Float": "f4", "Double": "f8", "BFloat16": "bfloat16"},
}
_NAMES = {
    "torch._utils _rebuild_tensor_v2": "tensor",
    "torch._utils _rebuild_tensor_v3": "tensor of a dtype",
    "torch._utils _rebuild_parameter": "parameter",
    "collections OrderedDict": "hooks",
    "torch.storage UntypedStorage": "u1",
    **{f"torch {name}Storage": code for name, code in _STORAGES.items()},
    **{f"torch uint{8 * size}": f"u{size}" for size in (2, 4, 8)},
}


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file: a storage of `stored` values from byte `start`, viewed by `shape` and `strides`.

    `strides` and `offset` count values; bfloat16, which numpy lacks, is uint16 here.
    """

    file: Path
    stamp: tuple[int, ...]
    start: int
    stored: int
    dtype: np.dtype[Any]
    is_bfloat16: bool
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


def part_of_tensors(images: Tensor, labels: Tensor) -> Part:
    """The part of a source that consists of two tensors."""
    return Part(
        str(images.file),
        images.shape[0] if images.shape else 0,
        images.shape[1:],
        functools.partial(_labels, labels),
        lambda size, keep: kept(rows(images, size), keep),
        lambda i: f"{images.file}[{i}]",
        functools.partial(whole, images),
    )


def is_stored(file: Path) -> bool:
    """Whether this is an uncompressed zip archive, as written by torch.save since PyTorch 1.6."""
    try:
        with open_regular(file) as stream, open_zip(stream) as archive:
            return all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError):
        return False


def look_into(file: Path) -> Tensor:
    """Inspect the tensor in a file, and verify the checksums of its members.

    Raises ImageError if it is damaged, or contains anything but one dense tensor of real numbers.
    """
    value = look_at_values(file)
    if not isinstance(value, Tensor):
        raise ImageError(f"{file}: contains a {type(value).__name__}, expected one tensor")
    return value


def look_at_values(file: Path) -> Any:
    """Inspect the content of a file: a Tensor, or lists and dicts of them, of strings and of numbers.

    The checksums of its members are verified. Raises ImageError if it is damaged, or contains tensors other than dense
    ones of real numbers, or other Python objects.
    """
    try:
        with open_regular(file) as stream, open_zip(stream) as archive:
            return _look_at_values(file, stream, archive)
    except (ImageError, MemoryError):
        raise
    except OSError as error:
        if error.filename is None:
            raise ImageError(f"{file}: damaged or truncated: {error.strerror or error}") from None
        raise
    except UnknownNameError as error:
        module, name = error.name.split(" ", 1) if " " in error.name else ("", error.name)
        if module in ("torch", "torch._utils"):
            kind = ascii(name)[1:-1][:60]
            raise ImageError(f"{file}: a tensor of kind {kind}; expected a dense one of real numbers") from None
        raise ImageError(f"{file}: contains Python objects other than tensors, which are never loaded") from None
    except zipfile.BadZipFile as error:
        with open_regular(file) as stream:
            legacy = stream.read(len(_LEGACY)) == _LEGACY
        why = "written by PyTorch before 1.6; save it again with torch.save" if legacy else str(error)
        raise ImageError(f"{file}: not a tensor written with torch.save, or damaged: {why}") from None
    except Exception as error:  # raised by zipfile, or by the reader of a hostile pickle
        text = f"{file}: not a tensor written with torch.save, or damaged: {brief(error, 120)}"
        raise ImageError(text) from None


@dataclass(frozen=True)
class _Opened:
    """An open file, and its members."""

    file: Path
    stream: IO[bytes]
    status: os.stat_result
    members: dict[str, zipfile.ZipInfo]
    prefix: str
    order: str
    looked: Iterator[int]


def _look_at_values(file: Path, stream: IO[bytes], archive: zipfile.ZipFile) -> Any:
    status = os.fstat(stream.fileno())
    members = archive.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED for info in members):
        raise zipfile.BadZipFile("it is compressed; save it again with torch.save")
    if sum(info.file_size for info in members) > status.st_size:
        raise zipfile.BadZipFile("its members claim more bytes than the file has")
    for info in members:
        if info.CRC == 0:  # not computed: torch.serialization.set_crc32_options(False)
            continue
        with archive.open(info) as member:
            read_to_end(member)
    by_name = {info.filename: info for info in members}
    (pickled,) = (name for name in by_name if name == "data.pkl" or name.endswith("/data.pkl"))
    if by_name[pickled].file_size > _MAX_PICKLE_BYTES:
        raise ImageError(f"{file}: contains more than a few tensors")
    value = read_pickle(_read(stream, by_name[pickled]), _NAMES)
    prefix = pickled.removesuffix("data.pkl")
    order = by_name.get(f"{prefix}byteorder")
    big = order is not None and order.file_size == 3 and _read(stream, order) == b"big"
    return _looked_at(value, _Opened(file, stream, status, by_name, prefix, ">" if big else "<", itertools.count()))


def _looked_at(value: Any, opened: _Opened, depth: int = 0) -> Any:
    """The content of a pickle, with Tensors in place of their records."""
    if depth > _MAX_NESTED or next(opened.looked) > _MAX_VALUES:  # a pickle may refer to one list a million times
        raise ImageError(f"{opened.file}: lists nested deeper than {_MAX_NESTED}, or more than {_MAX_VALUES:,} values")
    if isinstance(value, Record) and value.kind == "parameter":
        value = value.arguments[0]
    if isinstance(value, Record) and value.kind.startswith("tensor"):
        return _tensor(value, opened)
    if isinstance(value, tuple | list):
        return type(value)(_looked_at(item, opened, depth + 1) for item in value)
    if isinstance(value, dict):
        return {key: _looked_at(item, opened, depth + 1) for key, item in value.items()}
    if isinstance(value, Record | Name):
        raise ImageError(f"{opened.file}: contains Python objects other than tensors, which are never loaded")
    return value


def _tensor(value: Record, opened: _Opened) -> Tensor:
    file, stream, status = opened.file, opened.stream, opened.status
    storage, offset, shape, strides, _, _, *more = value.arguments
    kind, storage_type, key, *_ = storage.arguments[0]
    code = storage_type.kind
    if value.kind == "tensor of a dtype":
        code, *more = [more[0].kind, *more[1:]]
    if kind != "storage" or any(more) or not isinstance(storage_type, Name) or not isinstance(key, str):
        raise ImageError(f"{file}: a tensor with metadata; expected a plain one of real numbers")
    dtype = np.dtype("u2" if code == "bfloat16" else code).newbyteorder(opened.order)  # type: ignore[arg-type]
    data = opened.members[f"{opened.prefix}data/{key}"]
    stored = data.file_size // dtype.itemsize
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in numbers):
        raise ImageError(f"{file}: damaged: a tensor of shape {ascii(shape)[:60]}, strides {ascii(strides)[:60]}")
    start, is_bfloat16 = stored_at(stream, data), code == "bfloat16"
    tensor = Tensor(file, stamp(status), start, stored, dtype, is_bfloat16, tuple(shape), tuple(strides), offset)
    size = math.prod(shape) * dtype.itemsize
    beyond = offset + (_span(tensor, shape[0] if shape else 1) if size else 0) > stored
    if beyond or max(numbers) > 1 << 62 or tensor.start + data.file_size > status.st_size:
        raise ImageError(f"{file}: damaged or truncated: its values are beyond their storage")
    if size > max(status.st_size, physical_memory()):
        raise ImageError(f"{file}: claims {size:,} bytes in a file of {status.st_size:,}")
    return tensor


def _read(stream: IO[bytes], info: zipfile.ZipInfo) -> bytes:
    """Read an uncompressed member, whose checksum has been verified."""
    stream.seek(stored_at(stream, info))
    return stream.read(info.file_size)


def _span(tensor: Tensor, count: int) -> int:
    """The number of values in the storage from the first to the last of `count` rows."""
    shape = (count, *tensor.shape[1:]) if tensor.shape else ()
    return 1 + sum((n - 1) * step for n, step in zip(shape, tensor.strides, strict=True))


def whole(tensor: Tensor, memory: Memory) -> np.ndarray:
    """The tensor, mapped from the verified file, read-only; bfloat16 as a copy in float32."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, np.float32 if tensor.is_bfloat16 else tensor.dtype)
    if tensor.is_bfloat16 and tensor.shape:
        wide, first = memory.empty(tensor.shape, np.float32), 0
        for block in rows(tensor, _ROWS_AT_ONCE):
            wide[first : first + len(block)] = block
            first += len(block)
        return wide
    with _reopen(tensor) as stream:
        values = np.memmap(stream, tensor.dtype, "r", tensor.start, (tensor.stored,)).view(np.ndarray)
    return _view(tensor, values[tensor.offset :], tensor.shape)


def rows(tensor: Tensor, size: int) -> Iterator[np.ndarray]:
    """Yield the rows of a tensor, at most `size` at a time, freshly read; bfloat16 as float32."""
    item, count = tensor.dtype.itemsize, tensor.shape[0] if tensor.shape else 0
    if 0 in tensor.shape or not tensor.shape:
        return
    one, step = _span(tensor, 1), tensor.strides[0]
    at_once = count if step < one else max(1, min(size, MAX_ARRAY_BYTES // max(1, step * item)))
    with _reopen(tensor) as stream:
        for first in range(0, count, at_once):
            n = min(at_once, count - first)
            span = _span(tensor, n) * item
            if span > MAX_ARRAY_BYTES:
                raise ImageError(f"{tensor.file}: its images are not contiguous; save it with .contiguous()")
            stream.seek(tensor.start + (tensor.offset + first * step) * item)
            data = stream.read(span)
            if len(data) < span:
                raise ImageError(f"{tensor.file}: truncated while it was read")
            block = _view(tensor, np.frombuffer(data, tensor.dtype), (n, *tensor.shape[1:]))
            for i in range(0, n, size):
                yield _widened(block[i : i + size]) if tensor.is_bfloat16 else block[i : i + size]


def _labels(tensor: Tensor) -> np.ndarray:
    if math.prod(tensor.shape) * tensor.dtype.itemsize > MAX_LABEL_BYTES:
        raise ImageError(f"{tensor.file}: exceeds the limit of {MAX_LABEL_BYTES >> 30} GiB for labels")
    if not tensor.shape or 0 in tensor.shape:
        return np.empty(tensor.shape, tensor.dtype)
    return np.concatenate(list(rows(tensor, tensor.shape[0])))


def _reopen(tensor: Tensor) -> IO[bytes]:
    stream = open_regular(tensor.file)
    if stamp(os.fstat(stream.fileno())) != tensor.stamp:
        stream.close()
        raise ImageError(f"{tensor.file}: the file was replaced or modified while it was read")
    return stream


def _view(tensor: Tensor, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    strides = tuple(step * tensor.dtype.itemsize for step in tensor.strides)
    return as_strided(values, shape, strides, writeable=False)


def _widened(values: np.ndarray) -> np.ndarray:
    """Convert bfloat16, given as uint16, to float32, of which it is the upper half."""
    return (values.astype(np.uint32) << 16).view(np.float32)
