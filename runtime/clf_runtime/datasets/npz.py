"""`.npz` archives of numpy: one file with images, labels and names, perhaps test_images and test_labels too.

Or a folder with train.npz and test.npz, or one of them.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from clf_runtime.datasets.listing import refuse_extra
from clf_runtime.datasets.source import MAX_LABEL_BYTES, Memory, Part, Reading, Source, kept
from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import MAX_ARRAY_BYTES
from clf_runtime.inputs.npz import as_texts, open_npz

KNOWN = ".npz with images and labels, or train.npz and test.npz"
_LAYOUT = "npz arrays"
_MAX_NAMES_BYTES = 64 << 20
_FILES = ("train.npz", "test.npz")
_TRAIN = (("images", "labels"), ("train_images", "train_labels"))
_TEST = ("test_images", "test_labels")
_UNREAD = ("val_images", "val_labels")  # beside a test part: training chooses its own validation images

Opened = Callable[[], Part]


def recognises(path: Path) -> bool:
    """Whether this is a file named `.npz`, or a folder with a train.npz or test.npz."""
    return (path.is_file() and path.suffix.lower() == ".npz") or any((path / name).is_file() for name in _FILES)


def look(path: Path, reading: Reading) -> Source:
    """Look at an archive or a folder of two: names of arrays and class names are read, and nothing else."""
    if path.is_file():
        train, test, names, notes = _look(path)
        return Source(_LAYOUT, str(path), train, test, names, is_test=path.name == "test.npz", notes=notes)
    refuse_extra(path, _FILES, "a folder of .npz")
    found = {name: _look(path / name) for name in _FILES if (path / name).is_file()}
    train, test, names, notes = found.get("train.npz", (None, None, None, ()))
    if "test.npz" in found:
        other_train, other_test, test_names, more = found["test.npz"]
        if test is not None or (other_train is not None and other_test is not None):
            raise ImageError(f"{path}: several test parts, beside or within test.npz; keep one of them")
        test, notes = other_test or other_train, notes + more
        if train is not None and test_names is not None and names is None:
            raise ImageError(
                f"{path / 'test.npz'}: holds class names and train.npz holds none, so nobody knows whether its labels "
                "count by them; add names to train.npz, or leave them out of test.npz"
            )
        if train is not None and test_names is not None and test_names != names:
            raise ImageError(f"{path / 'test.npz'}: its class names are not those of train.npz")
        names = names if train is not None else test_names
    return Source(_LAYOUT, str(path), train, test, names, notes=notes)


def _look(file: Path) -> tuple[Opened | None, Opened | None, tuple[str, ...] | None, tuple[str, ...]]:
    """The training part and the test part, the class names, and notes."""
    with open_npz(file) as npz:
        there = set(npz.names)
        train = next((keys for keys in _TRAIN if there.intersection(keys)), None)
        test = _TEST if there.intersection(_TEST) else None
        wanted = [*(train or ()), *(test or ())] or _TRAIN[0]
        for key in wanted:
            if key not in there:
                held = ", ".join(sorted(there))[:200] or "nothing"
                raise ImageError(f"{file}: holds no array named {key} (it holds {held})")
        for key in sorted(there.difference(wanted, ("names",), _UNREAD)):
            raise ImageError(
                f"{file}: holds an array {key[:60]}, which is not read; wanted: images, labels, names, test_images, "
                "test_labels"
            )
        names = as_texts(npz.read("names", _MAX_NAMES_BYTES), str(file)) if "names" in there else None
        same = npz.stamp
    notes = (f"{file}: val_images and val_labels are not read",) * bool(there.intersection(_UNREAD))
    parts = [functools.partial(_open, file, same, keys) if keys else None for keys in (train, test)]
    return parts[0], parts[1], None if names is None else tuple(name.strip() for name in names), notes


def _open(file: Path, same: tuple[int, ...], keys: tuple[str, str]) -> Part:
    with open_npz(file, same) as npz:
        shape = npz.peek(keys[0]).shape
    return Part(
        str(file),
        shape[0] if shape else 0,
        shape[1:],
        functools.partial(_labels, file, same, keys[1]),
        functools.partial(_blocks, file, same, keys[0]),
        lambda i: f"{file}[{i}]",
        functools.partial(_whole, file, same, keys[0]),
    )


def _labels(file: Path, same: tuple[int, ...], key: str) -> np.ndarray:
    with open_npz(file, same) as npz:
        return npz.read(key, MAX_LABEL_BYTES)


def _whole(file: Path, same: tuple[int, ...], key: str, memory: Memory) -> np.ndarray:
    with open_npz(file, same) as npz:
        return npz.load(key, memory.empty, memory.most)


def _blocks(file: Path, same: tuple[int, ...], key: str, size: int, keep: np.ndarray | None) -> Iterator[np.ndarray]:
    """Yield the images as `Part` says. Fortran's order is read whole, as it has no rows."""
    with open_npz(file, same) as npz:
        if npz.peek(key).fortran_order:
            whole = npz.read(key, MAX_ARRAY_BYTES)
            yield from kept((whole[first : first + size] for first in range(0, len(whole), size)), keep)
        else:
            yield from kept(npz.rows(key, size, MAX_ARRAY_BYTES), keep)
