"""Class names: those stored with labelled images, and the indices of a source's names among a model's."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clf_runtime.datasets.source import Source
from clf_runtime.errors import ImageError
from clf_runtime.model.names import names_fault

_MAX_NAMES_BYTES = 64 << 20
_FEW = 10


def names_beside(path: Path) -> tuple[str, ...] | None:
    """The class names in a `names.txt` in a folder, None if there is none. Raises ImageError if they are not names."""
    return read_names(path / "names.txt") if (path / "names.txt").is_file() else None


def read_names(file: Path) -> tuple[str, ...]:
    """Class names from a text file, one per line. Raises ImageError if they are not valid names."""
    if file.stat().st_size > _MAX_NAMES_BYTES:
        raise ImageError(f"{file}: exceeds the limit of {_MAX_NAMES_BYTES >> 20} MiB for class names")
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ImageError(f"{file}: class names must be text in UTF-8, one per line") from None
    names = tuple(name.strip() for name in text.rstrip().splitlines())
    if not names:
        raise ImageError(f"{file}: contains no class names")
    if fault := names_fault(names):
        raise ImageError(f"{file}: {fault}")
    return names


def place_names(names: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray | None, str | None]:
    """The index of each name among the classes of a model, int64, or None and the first name that is not there."""
    place = {name: i for i, name in enumerate(classes)}
    missing = next((name for name in names if name not in place), None)
    return (np.array([place[name] for name in names], np.int64), None) if missing is None else (None, missing)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names are "0" to "n-1", the default."""
    return all(name == str(i) for i, name in enumerate(names))


def match_names(
    source: Source, names: Sequence[str] | None, classes: Sequence[str]
) -> tuple[np.ndarray | None, str | None]:
    """The model's index of each class of the data, int64, by name, or None if labels are used as they are; and a note.

    If the labels of the data are numbers, and its names, as many as the model's, contradict none of them, classes are
    matched by index. Raises ImageError, naming the first class that the model does not have.
    """
    if names is None:
        return None, None
    if fault := names_fault(names):
        raise ImageError(f"{source.where}: {fault}")
    places, missing = place_names(names, classes)
    if places is not None:
        return places, None
    known = set(classes)
    in_place = all(name not in known or classes[i] == name for i, name in enumerate(names[: len(classes)]))
    if len(names) == len(classes) and (are_numbers(classes) if source.by_folder else in_place):
        return None, f"the model has other class names (not {missing!r}): labels are matched by index"
    few = ", ".join(classes[:_FEW]) + ", ..." * (len(classes) > _FEW)
    raise ImageError(f"{source.where}: {missing!r} is not a class of the model ({few})")
