"""Four tensors of `torch.save`, read without torch: train_data_2, train_labels_2, test_data_2, test_labels_2.

Also without the `_2`, and with `.pt` or `.pth` behind. Either pair may be absent. A file is a zip archive with a
pickle, which says what the tensor is, and beside it its memory, which is not compressed
(https://pytorch.org/docs/stable/notes/serialization.html).
"""

import functools
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from clf_runtime.bounded import open_regular, physical_memory, stamp
from clf_runtime.datasets.listing import refuse_extra
from clf_runtime.datasets.pickles import Name, Record, UnknownNameError, read_pickle
from clf_runtime.datasets.source import MAX_LABEL_BYTES, Memory, Part, Reading, Source, kept
from clf_runtime.errors import ImageError, brief
from clf_runtime.inputs.arrays import MAX_ARRAY_BYTES
from clf_runtime.inputs.npz import open_zip, read_to_end, stored_at

KNOWN = "train_data_2, train_labels_2, test_data_2, test_labels_2 written with torch.save"
LAYOUT = "tensors of torch.save"
_SUFFIXES = ("_2", "", "_2.pt", ".pt", "_2.pth", ".pth")
_PARTS, _KINDS = ("train", "test"), ("data", "labels")
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # a pickle of a number, with which such files began
_MAX_PICKLE_BYTES = 1 << 20
_MAX_DIMENSIONS = 8
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
    """A tensor in a file: `stored` values from byte `start` on, of which `shape` and `strides` take theirs.

    `strides` and `offset` count values; bfloat16, which numpy has not, is uint16 here.
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


def recognises(path: Path) -> bool:
    """Whether a folder holds a file named like images or labels."""
    return path.is_dir() and bool(_suffixes(path))


def look(path: Path, reading: Reading) -> Source:
    """Look at a folder of tensors: which of its files are there."""
    train, test = (functools.partial(_open, *pair) if pair else None for pair in pairs(path))
    return Source(LAYOUT, str(path), train, test)


def pairs(path: Path) -> tuple[tuple[Path, Path] | None, tuple[Path, Path] | None]:
    """The files of images and labels of the training and of the test part.

    Raises ImageError if one of a pair is missing, or something else lies in the folder.
    """
    suffixes = _suffixes(path)
    if len(suffixes) > 1:
        sets = ", ".join(f"train_*{s}" for s in suffixes)
        raise ImageError(f"{path}: several sets of tensors ({sets}); keep one of them in the folder")
    files = [(path / f"{part}_data{suffixes[0]}", path / f"{part}_labels{suffixes[0]}") for part in _PARTS]
    refuse_extra(path, [file.name for pair in files for file in pair], "a folder of tensors")
    train, test = (pair if any(file.is_file() for file in pair) else None for pair in files)
    for file in (*(train or ()), *(test or ())):
        if not file.is_file():
            raise ImageError(f"{file}: missing from the folder of tensors")
    return train, test


def _suffixes(path: Path) -> list[str]:
    """What the names of the training files end in, or of the test files where there are none."""
    found = ([s for s in _SUFFIXES if any((path / f"{p}_{kind}{s}").is_file() for kind in _KINDS)] for p in _PARTS)
    return next(filter(None, found), [])


def _open(images_file: Path, labels_file: Path) -> Part:
    images = look_into(images_file)
    labels = look_into(labels_file)
    return Part(
        str(images_file),
        images.shape[0] if images.shape else 0,
        images.shape[1:],
        functools.partial(_labels, labels),
        lambda size, keep: kept(rows(images, size), keep),
        lambda i: f"{images_file}[{i}]",
        functools.partial(whole, images),
    )


def is_stored(file: Path) -> bool:
    """Whether this is a zip archive that is not compressed, as torch.save has written it since PyTorch 1.6."""
    try:
        with open_regular(file) as stream, open_zip(stream) as archive:
            return all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError):
        return False


def look_into(file: Path) -> Tensor:
    """Look at the tensor in a file, whose members are held against their checksums.

    Raises ImageError if it is damaged, or holds anything but one dense tensor of real numbers.
    """
    try:
        with open_regular(file) as stream, open_zip(stream) as archive:
            return _look_into(file, stream, archive)
    except (ImageError, MemoryError):
        raise
    except OSError as error:
        if error.filename is None:
            raise ImageError(f"{file}: damaged or cut short: {error.strerror or error}") from None
        raise
    except UnknownNameError as error:
        module, name = error.name.split(" ", 1) if " " in error.name else ("", error.name)
        if module in ("torch", "torch._utils"):
            kind = ascii(name)[1:-1][:60]
            raise ImageError(f"{file}: a tensor of kind {kind}; wanted a plain one of real numbers") from None
        raise ImageError(f"{file}: holds Python objects other than tensors, which are never loaded") from None
    except zipfile.BadZipFile as error:
        with open_regular(file) as stream:
            legacy = stream.read(len(_LEGACY)) == _LEGACY
        why = "PyTorch before 1.6 wrote it; save it anew with torch.save" if legacy else str(error)
        raise ImageError(f"{file}: not a tensor written with torch.save, or damaged: {why}") from None
    except Exception as error:  # what zipfile raises, and what a hostile pickle makes its reader raise
        text = f"{file}: not a tensor written with torch.save, or damaged: {brief(error, 120)}"
        raise ImageError(text) from None


def _look_into(file: Path, stream: IO[bytes], archive: zipfile.ZipFile) -> Tensor:
    status = os.fstat(stream.fileno())
    members = archive.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED for info in members):
        raise zipfile.BadZipFile("it is compressed; save it anew with torch.save")
    if sum(info.file_size for info in members) > status.st_size:
        raise zipfile.BadZipFile("its members claim more than the file holds")
    for info in members:
        if info.CRC == 0:  # torch was told to compute none: torch.serialization.set_crc32_options(False)
            continue
        with archive.open(info) as member:
            read_to_end(member)
    by_name = {info.filename: info for info in members}
    (pickled,) = (name for name in by_name if name == "data.pkl" or name.endswith("/data.pkl"))
    if by_name[pickled].file_size > _MAX_PICKLE_BYTES:
        raise ImageError(f"{file}: holds more than one tensor")
    value = read_pickle(_read(stream, by_name[pickled]), _NAMES)
    if isinstance(value, Record) and value.kind == "parameter":
        value = value.arguments[0]
    if not isinstance(value, Record) or not value.kind.startswith("tensor"):
        raise ImageError(f"{file}: holds a {type(value).__name__}, wanted one tensor")
    storage, offset, shape, strides, _, _, *more = value.arguments
    kind, storage_type, key, *_ = storage.arguments[0]
    code = storage_type.kind
    if value.kind == "tensor of a dtype":
        code, *more = [more[0].kind, *more[1:]]
    if kind != "storage" or any(more) or not isinstance(storage_type, Name) or not isinstance(key, str):
        raise ImageError(f"{file}: a tensor with metadata; wanted a plain one of real numbers")
    prefix = pickled.removesuffix("data.pkl")
    order = by_name.get(f"{prefix}byteorder")
    big = order is not None and order.file_size == 3 and _read(stream, order) == b"big"
    dtype = np.dtype("u2" if code == "bfloat16" else code).newbyteorder(">" if big else "<")
    data = by_name[f"{prefix}data/{key}"]
    stored = data.file_size // dtype.itemsize
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in numbers):
        raise ImageError(f"{file}: damaged: a tensor of shape {ascii(shape)[:60]}, strides {ascii(strides)[:60]}")
    start, is_bfloat16 = stored_at(stream, data), code == "bfloat16"
    tensor = Tensor(file, stamp(status), start, stored, dtype, is_bfloat16, tuple(shape), tuple(strides), offset)
    size = math.prod(shape) * dtype.itemsize
    beyond = offset + (_span(tensor, shape[0] if shape else 1) if size else 0) > stored
    if beyond or max(numbers) > 1 << 62 or tensor.start + data.file_size > status.st_size:
        raise ImageError(f"{file}: damaged or cut short: its values lie beyond their memory")
    if size > max(status.st_size, physical_memory()):
        raise ImageError(f"{file}: claims {size:,} bytes in a file of {status.st_size:,}")
    return tensor


def _read(stream: IO[bytes], info: zipfile.ZipInfo) -> bytes:
    """Read a member that is not compressed, whose checksum has been compared."""
    stream.seek(stored_at(stream, info))
    return stream.read(info.file_size)


def _span(tensor: Tensor, count: int) -> int:
    """How many values of the memory so many rows take, from the first to the last."""
    shape = (count, *tensor.shape[1:]) if tensor.shape else ()
    return 1 + sum((n - 1) * step for n, step in zip(shape, tensor.strides, strict=True))


def whole(tensor: Tensor, memory: Memory) -> np.ndarray:
    """The tensor, mapped from the file whose checksums were compared, read-only; bfloat16 as a copy in float32."""
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
    """Yield the rows of a tensor, `size` at a time or fewer, freshly read; bfloat16 as float32."""
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
                raise ImageError(f"{tensor.file}: {span:,} bytes that are not image after image; save it .contiguous()")
            stream.seek(tensor.start + (tensor.offset + first * step) * item)
            data = stream.read(span)
            if len(data) < span:
                raise ImageError(f"{tensor.file}: cut short while it was read")
            block = _view(tensor, np.frombuffer(data, tensor.dtype), (n, *tensor.shape[1:]))
            for i in range(0, n, size):
                yield _widened(block[i : i + size]) if tensor.is_bfloat16 else block[i : i + size]


def _labels(tensor: Tensor) -> np.ndarray:
    if math.prod(tensor.shape) * tensor.dtype.itemsize > MAX_LABEL_BYTES:
        raise ImageError(f"{tensor.file}: larger than labels may be")
    if not tensor.shape or 0 in tensor.shape:
        return np.empty(tensor.shape, tensor.dtype)
    return np.concatenate(list(rows(tensor, tensor.shape[0])))


def _reopen(tensor: Tensor) -> IO[bytes]:
    stream = open_regular(tensor.file)
    if stamp(os.fstat(stream.fileno())) != tensor.stamp:
        stream.close()
        raise ImageError(f"{tensor.file}: another file than the one that was looked at, or changed since")
    return stream


def _view(tensor: Tensor, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    strides = tuple(step * tensor.dtype.itemsize for step in tensor.strides)
    return as_strided(values, shape, strides, writeable=False)


def _widened(values: np.ndarray) -> np.ndarray:
    """bfloat16, as uint16, in float32, whose upper half it is."""
    return (values.astype(np.uint32) << 16).view(np.float32)
