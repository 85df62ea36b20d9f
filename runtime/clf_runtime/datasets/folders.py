"""Class-named folders of pictures: train/<class>/*, val/<class>/* and test/<class>/*, some of them, or none.

A folder `none` beside the classes has examples of what is no class.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from clf_runtime.datasets.listing import (
    class_folders,
    has_pictures,
    is_picture_file,
    left_out,
    part_folders,
    part_of_name,
    refuse_extra,
    visible,
)
from clf_runtime.datasets.pictures import part_of_files
from clf_runtime.datasets.places import Place
from clf_runtime.datasets.source import Part, Reading, Source
from clf_runtime.errors import ImageError
from clf_runtime.inputs.picture_formats import NAMES, SUFFIXES

_LAYOUT = "class-named folders"
NO_CLASS = "none"
_FEWEST = 2  # classes: with one beside it, "none" is the other
_TESTS = ("test", "validation")  # what is used as the test part: the first that exists


def recognises(path: Place) -> bool:
    """Whether a folder contains folders of pictures, or a folder named like a part that does."""
    if not path.is_dir():
        return False
    parts = (entry for entry in visible(path) if part_of_name(entry.name) is not None)
    return any(_has_classes(folder) for folder in (path, *parts))


def look(path: Place, reading: Reading) -> Source:
    """Inspect a folder; the classes are its non-empty (training) folders, in natural order.

    Raises ImageError if parts are ambiguous, or the folder contains anything that is not a class.
    """
    parts = part_folders(path)
    has_train = "train" in parts and _has_classes(parts["train"])  # else there is none, or it is a class of trains
    tests = [part for part in _TESTS if part in parts and (has_train or _has_classes(parts[part]))]
    if not has_train and not tests:
        names, notes = _classes(path, reading)
        train = functools.partial(_open, path, names, reading, path)
        is_test = part_of_name(path.name) in _TESTS
        return Source(
            _LAYOUT,
            str(path),
            train,
            None,
            names,
            is_test=is_test,
            by_folder=True,
            notes=notes,
            outliers=_outliers(path, names, reading),
        )
    refuse_extra(path, [folder.name for folder in parts.values()], "train/, val/ and test/ folders")
    first = parts["train" if has_train else tests[0]]
    names, notes = _classes(first, reading)
    said = left_out([path])
    opened = {part: functools.partial(_open, parts[part], names, reading, first) for part in parts}
    return Source(
        _LAYOUT,
        str(path),
        opened["train"] if has_train else None,
        opened[tests[0]] if tests else None,
        names,
        by_folder=True,
        notes=(*((said,) if said else ()), *notes),
        validation=opened[tests[1]] if has_train and len(tests) > 1 else None,
        outliers=_outliers(first, names, reading),
    )


def _has_classes(folder: Place) -> bool:
    return any(has_pictures(c) for c in class_folders(folder))


def _classes(folder: Place, reading: Reading) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the non-empty folders of a part, in order, and notes about the others."""
    there = class_folders(folder)
    refuse_extra(folder, [c.name for c in there], _LAYOUT)
    empty = [c.name for c in there if not visible(c)]
    names = {c.name for c in there}.difference(empty)
    notes = []
    if empty:
        notes.append(f"skipped, since they are empty: {', '.join(f'{folder / name}' for name in empty)}")
    if len(names) > _FEWEST and NO_CLASS in names and not reading.none_is_class:
        names.remove(NO_CLASS)
        notes.append(f"{folder / NO_CLASS}: examples of what is no class; rename the folder if it is one")
    return tuple(reading.order(names)), tuple(notes)


def _outliers(folder: Place, names: Sequence[str], reading: Reading) -> Callable[[], Part] | None:
    """Opens the examples of what is no class, None if there are none."""
    there = next((c for c in class_folders(folder) if c.name == NO_CLASS and visible(c)), None)
    if there is None or NO_CLASS in names:
        return None

    def open_them() -> Part:
        files = _pictures(there)
        return part_of_files(str(there), files, np.zeros(len(files), np.int64), reading, ())

    return open_them


def _open(folder: Place, names: Sequence[str], reading: Reading, beside: Place) -> Part:
    """Open a part whose classes have these names; `beside` has the examples of no class, and others are not used."""
    there = {c.name: c for c in class_folders(folder)}
    refuse_extra(folder, there, _LAYOUT)
    notes = []
    if NO_CLASS not in names and NO_CLASS in there and visible(there[NO_CLASS]) and str(folder) != str(beside):
        notes.append(
            f"{there[NO_CLASS]}: not used: examples of what is no class are read from {beside / NO_CLASS} alone; "
            "clf-eval --outliers measures by others"
        )
    for extra in sorted(set(there) - set(names)):
        if extra != NO_CLASS and visible(there[extra]):
            raise ImageError(f"{folder / extra}: a class without training images")
    files: list[Place] = []
    counts = []
    for name in names:
        pictures = _pictures(there[name]) if name in there else []
        files += pictures
        counts.append(len(pictures))
    if said := left_out([folder, *there.values()]):
        notes.append(f"{folder}: {said}")
    labels = np.repeat(np.arange(len(names)), counts)
    return part_of_files(str(folder), files, labels, reading, tuple(notes))


def _pictures(folder: Place) -> list[Place]:
    pictures: list[Place] = list(visible(folder))
    for picture in pictures:
        is_named = picture.suffix.lower() in SUFFIXES
        if not picture.is_file() or not (is_named or is_picture_file(picture)):
            raise ImageError(f"{picture}: not a picture in a known format ({NAMES}); remove it")
    return pictures
