"""Class-named folders of PNG or JPEG pictures: train/<class>/* and test/<class>/*, one of them, or <class>/* alone."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clf_runtime.bounded import read_bounded
from clf_runtime.datasets.listing import TEST_FOLDERS, class_folders, has_pictures, refuse_extra, visible
from clf_runtime.datasets.source import Decode, Part, Source
from clf_runtime.errors import ImageError
from clf_runtime.inputs.picture_formats import SUFFIXES
from clf_runtime.inputs.pictures import MAX_FILE_BYTES

KNOWN = "class-named folders of PNG or JPEG, below train/ and test/ or alone"
_LAYOUT = "class-named folders"


def recognises(path: Path) -> bool:
    """Whether a folder holds folders of pictures, or a `train` or `test` folder that does."""
    return path.is_dir() and any(_has_classes(folder) for folder in (path, *_inner(path)))


def look(path: Path, decode: Decode) -> Source:
    """Look at a folder; the classes are its (training) folders in sorted order.

    Raises ImageError where it is not clear which part is meant, or something lies there that is no class.
    """
    has_train = _has_classes(path / "train")  # else there is none, or it is the class of trains
    tests = [name for name in TEST_FOLDERS if (path / name).is_dir() and (has_train or _has_classes(path / name))]
    if not has_train and not tests:
        names = _classes(path)
        train = functools.partial(_open, path, names, decode)
        return Source(_LAYOUT, str(path), train, None, names, is_test=path.name in TEST_FOLDERS, by_folder=True)
    if len(tests) > 1:
        raise ImageError(f"{path}: both {tests[0]}/ and {tests[1]}/; keep one test part in the folder, or name it")
    refuse_extra(path, ("train", *tests), "train/ and test/ folders")
    names = _classes(path / ("train" if has_train else tests[0]))
    parts = [functools.partial(_open, path / name, names, decode) for name in ("train", *tests)]
    test = parts[1] if tests else None
    return Source(_LAYOUT, str(path), parts[0] if has_train else None, test, names, by_folder=True)


def _inner(path: Path) -> Iterator[Path]:
    return (path / name for name in ("train", *TEST_FOLDERS))


def _has_classes(folder: Path) -> bool:
    return any(has_pictures(c) for c in class_folders(folder))


def _classes(folder: Path) -> tuple[str, ...]:
    names = tuple(c.name for c in class_folders(folder))
    refuse_extra(folder, names, _LAYOUT)
    return names


def _open(folder: Path, names: Sequence[str], decode: Decode) -> Part:
    for extra in sorted(set(_classes(folder)) - set(names)):
        raise ImageError(f"{folder / extra}: a class without training images")
    files: list[Path] = []
    counts = []
    for name in names:
        pictures = _pictures(folder / name) if (folder / name).is_dir() else []
        files += pictures
        counts.append(len(pictures))
    if not files:
        raise ImageError(f"{folder}: no pictures")
    labels = np.repeat(np.arange(len(names)), counts)
    blocks = functools.partial(_blocks, files, decode)
    return Part(str(folder), len(files), None, lambda: labels, blocks, lambda i: str(files[i]))


def _pictures(folder: Path) -> list[Path]:
    pictures = visible(folder)
    for picture in pictures:
        if picture.suffix.lower() not in SUFFIXES or not picture.is_file():
            raise ImageError(f"{picture}: neither PNG nor JPEG; move it away")
    return pictures


def _blocks(files: list[Path], decode: Decode, size: int, keep: np.ndarray | None) -> Iterator[np.ndarray]:
    rows = np.arange(len(files)) if keep is None else np.flatnonzero(keep)
    for first in range(0, len(rows), size):
        yield np.stack([_decode(files[i], decode) for i in rows[first : first + size]])


def _decode(file: Path, decode: Decode) -> np.ndarray:
    data = read_bounded(file, MAX_FILE_BYTES)
    if data is None:
        raise ImageError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB")
    return decode(data, str(file)).transpose(2, 0, 1)
