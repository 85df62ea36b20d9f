"""`.npz` archives with images, labels and perhaps names, streamed out of the archive.

Also test_images and test_labels, beside which training images may lie, and a folder with such a file, test.npz.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clf_runtime.datasets.source import Block, Source, as_labels, recut
from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import MAX_ARRAY_BYTES
from clf_runtime.inputs.npz import Npz, as_texts, open_npz
from clf_runtime.model.card import ModelCard

_MAX_NAMES_BYTES = 64 << 20
_LABELS_AT_ONCE = 65_536
_FILES = ("test.npz", "train.npz")


def recognises(path: Path) -> bool:
    """Whether this is a file named `.npz`, or a folder with a test.npz or train.npz."""
    return (path.is_file() and path.suffix.lower() == ".npz") or any((path / name).is_file() for name in _FILES)


def look(path: Path, card: ModelCard) -> Source:
    """Look at an archive: its headers and names are read, and held against the sizes that the archive states.

    Raises ImageError if it is damaged, lacks an array, or holds images of another shape than the model's.
    """
    file = next(path / name for name in _FILES if (path / name).is_file()) if path.is_dir() else path
    with open_npz(file) as npz:
        is_test = "test_images" in npz.names
        keys = ("test_images", "test_labels") if is_test else ("images", "labels")
        images, labels = (_shape(npz, key, file) for key in keys)
        names = _names(npz, file) if "names" in npz.names else None
        same = npz.stamp
    shape = card.image_shape
    fitting = [shape, (*shape[1:], shape[0])] + [shape[1:]] * (shape[0] == 1)
    if images[1:] not in fitting or not images[0]:
        found, wanted = ("x".join(map(str, s)) or "one number" for s in (images, shape))
        raise ImageError(f"{file}, {keys[0]}: {found}, the model wants N x {wanted}")
    if labels not in ((images[0],), (images[0], 1)):
        raise ImageError(f"{file}: {images[0]:,} images, but {keys[1]} of shape {labels}")
    return Source(
        layout="npz arrays",
        where=str(file),
        images=images[0],
        names=names,
        is_test_part=is_test or file.name == _FILES[0],
        labels=functools.partial(_labels, file, same, keys[1]),
        blocks=functools.partial(_blocks, file, same, keys),
    )


def _shape(npz: Npz, key: str, file: Path) -> tuple[int, ...]:
    if key not in npz.names:
        there = ", ".join(sorted(npz.names))[:200] or "nothing"
        raise ImageError(f"{file}: holds no array named {key} (it holds {there})")
    header = npz.peek(key)
    if header.dtype.kind not in "biuf":
        raise ImageError(f"{file}, {key}: values of dtype {str(header.dtype)[:60]}; wanted: numbers")
    return header.shape


def _names(npz: Npz, file: Path) -> tuple[str, ...]:
    texts = [text.strip() for text in as_texts(npz.read("names", _MAX_NAMES_BYTES), str(file))]
    if len(set(texts)) < len(texts):
        raise ImageError(f"{file}: a class name is there twice")
    return tuple(texts)


def _labels(file: Path, same: tuple[int, ...], key: str) -> np.ndarray:
    with open_npz(file, same) as npz:
        return np.concatenate(list(_label_rows(npz, key, file)))


def _blocks(
    file: Path, same: tuple[int, ...], keys: tuple[str, str], size: int, keep: np.ndarray | None
) -> Iterator[Block]:
    return recut(_kept(file, same, keys, size, keep), size)


def _kept(
    file: Path, same: tuple[int, ...], keys: tuple[str, str], size: int, keep: np.ndarray | None
) -> Iterator[Block]:
    with open_npz(file, same) as npz:
        first = 0
        label_rows, labels = _label_rows(npz, keys[1], file), np.empty(0, np.int64)
        for images in _image_rows(npz, keys[0], size):
            while len(labels) < len(images):
                labels = np.concatenate([labels, next(label_rows)])
            rows = np.arange(len(images)) if keep is None else np.flatnonzero(keep[first : first + len(images)])
            yield Block(images[rows], labels[rows], [f"{file}[{first + i}]" for i in rows])
            labels, first = labels[len(images) :], first + len(images)


def _label_rows(npz: Npz, key: str, file: Path) -> Iterator[np.ndarray]:
    first = 0
    for values in npz.rows(key, _LABELS_AT_ONCE, MAX_ARRAY_BYTES):
        yield as_labels(values, first, f"{file}, {key}")
        first += len(values)


def _image_rows(npz: Npz, key: str, size: int) -> Iterator[np.ndarray]:
    """Yield up to `size` images at a time. Fortran's order is read whole, as it has no rows."""
    if npz.peek(key).fortran_order:
        whole = npz.read(key, MAX_ARRAY_BYTES)
        yield from (whole[first : first + size] for first in range(0, len(whole), size))
    else:
        yield from npz.rows(key, size, MAX_ARRAY_BYTES)
