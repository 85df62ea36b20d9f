"""`.npz` archives of numpy: one file with images, labels and names, of one part or several (see array_names).

Or a folder with train.npz, test.npz and optionally val.npz, or one of them.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clf_runtime.datasets.array_names import find_keys
from clf_runtime.datasets.listing import part_of_name, refuse_extra, visible
from clf_runtime.datasets.source import MAX_LABEL_BYTES, Memory, Part, Reading, Source, kept, source_of
from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import MAX_ARRAY_BYTES
from clf_runtime.inputs.npz import as_texts, open_npz

_LAYOUT = "npz arrays"
_MAX_NAMES_BYTES = 64 << 20

Opened = Callable[[], Part]


@dataclass(frozen=True)
class _Archive:
    file: Path
    parts: dict[str, Opened]
    names: tuple[str, ...] | None


def recognises(path: Path) -> bool:
    """Whether this is a file named `.npz`, or a folder with a train.npz or test.npz."""
    return (path.is_file() and path.suffix.lower() == ".npz") or bool(path.is_dir() and _files(path))


def look(path: Path, reading: Reading) -> Source:
    """Inspect an archive or a folder of archives: only names of arrays and class names are read."""
    if path.is_file():
        archive = _look(path)
        is_test = part_of_name(path.stem) == "test" and set(archive.parts) == {"train"}
        return source_of(_LAYOUT, str(path), archive.parts, archive.names, is_test=is_test)
    files = _files(path)
    refuse_extra(path, [file.name for file in files.values()], "a folder of .npz")
    parts: dict[str, Opened] = {}
    names: tuple[str, ...] | None = None
    first: Path | None = None
    for part in (part for part in ("train", "validation", "test") if part in files):
        archive = _look(files[part])
        own: dict[str, Opened] = (
            {part: next(iter(archive.parts.values()))} if len(archive.parts) == 1 else archive.parts
        )
        for again in parts.keys() & own.keys():
            raise ImageError(f"{path}: several {again} parts, in {files[part].name} and elsewhere; keep one of them")
        if first is None:
            names = archive.names
        elif archive.names is not None and names is None:
            raise ImageError(
                f"{archive.file}: has class names but {first.name} has none, so its labels may refer to another order; "
                f"add names to {first.name}, or remove them from {archive.file.name}"
            )
        elif archive.names is not None and archive.names != names:
            raise ImageError(f"{archive.file}: its class names differ from those of {first.name}")
        first = first or archive.file
        parts.update(own)
    return source_of(_LAYOUT, str(path), parts, names)


def _files(folder: Path) -> dict[str, Path]:
    """The archives in a folder that are named like parts, by part."""
    found: dict[str, Path] = {}
    for file in visible(folder):
        part = part_of_name(file.stem)
        if part is None or file.suffix.lower() != ".npz":
            continue
        if part in found:
            raise ImageError(f"{folder}: both {found[part].name} and {file.name}; keep one of them in the folder")
        found[part] = file
    return found


def _look(file: Path) -> _Archive:
    with open_npz(file) as npz:
        keys = find_keys(npz.names, str(file))
        names = None if keys.names is None else as_texts(npz.read(keys.names, _MAX_NAMES_BYTES), str(file))
        same = npz.stamp
    parts = {part: functools.partial(_open, file, same, *pair) for part, pair in keys.parts.items()}
    return _Archive(file, {**parts}, None if names is None else tuple(name.strip() for name in names))


def _open(file: Path, same: tuple[int, ...], images: str, labels: str) -> Part:
    with open_npz(file, same) as npz:
        shape = npz.peek(images).shape
    side = math.isqrt(shape[1]) if len(shape) == 2 else 0
    flat = (side, side) if side and side * side == shape[1] else None  # as in scikit-learn
    return Part(
        str(file),
        shape[0] if shape else 0,
        flat or shape[1:],
        functools.partial(_labels, file, same, labels),
        functools.partial(_blocks, file, same, images, flat),
        lambda i: f"{file}[{i}]",
        functools.partial(_whole, file, same, images, flat),
        (f"{file}: images of {shape[1]} values are read as {side}x{side} greyscale",) if flat else (),
    )


def _labels(file: Path, same: tuple[int, ...], key: str) -> np.ndarray:
    with open_npz(file, same) as npz:
        return npz.read(key, MAX_LABEL_BYTES)


def _whole(file: Path, same: tuple[int, ...], key: str, flat: tuple[int, int] | None, memory: Memory) -> np.ndarray:
    with open_npz(file, same) as npz:
        whole = npz.load(key, memory.empty, memory.most)
    return whole.reshape(-1, *flat) if flat else whole


def _blocks(
    file: Path, same: tuple[int, ...], key: str, flat: tuple[int, int] | None, size: int, keep: np.ndarray | None
) -> Iterator[np.ndarray]:
    """Yield the images as in `Part`. An array in Fortran order, which has no contiguous rows, is read whole."""
    with open_npz(file, same) as npz:
        if npz.peek(key).fortran_order:
            whole = npz.read(key, MAX_ARRAY_BYTES)
            blocks = kept((whole[first : first + size] for first in range(0, len(whole), size)), keep)
        else:
            blocks = kept(npz.rows(key, size, MAX_ARRAY_BYTES), keep)
        yield from ((block.reshape(-1, *flat) for block in blocks) if flat else blocks)
