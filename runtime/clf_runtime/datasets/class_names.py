"""Class names: those that lie beside labelled images, and the places of a source's names among a model's."""

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
    """Class names from a text file, one a line. Raises ImageError if they are not what names must be."""
    if file.stat().st_size > _MAX_NAMES_BYTES:
        raise ImageError(f"{file}: larger than a list of class names may be")
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ImageError(f"{file}: class names must be text in UTF-8, one a line") from None
    names = tuple(name.strip() for name in text.rstrip().splitlines())
    if not names:
        raise ImageError(f"{file}: holds no class name")
    if fault := names_fault(names):
        raise ImageError(f"{file}: {fault}")
    return names


def place_names(names: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray | None, str | None]:
    """Where each name stands among the classes of a model, int64, or None and the first name that is none of them."""
    place = {name: i for i, name in enumerate(classes)}
    missing = next((name for name in names if name not in place), None)
    return (np.array([place[name] for name in names], np.int64), None) if missing is None else (None, missing)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names are "0" to "n-1", as they are where nobody gave any."""
    return all(name == str(i) for i, name in enumerate(names))


def match_names(
    source: Source, names: Sequence[str] | None, classes: Sequence[str]
) -> tuple[np.ndarray | None, str | None]:
    """For each class of the data the model's, int64, by name, or None where labels count as they are; and a remark.

    Where data comes with numbers, and other names than the model's stand for as many classes in the same places, the
    numbers count. Raises ImageError that names the class which the model does not know.
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
        return None, f"the model has other class names ({missing!r} is none of them): labels are taken by their order"
    few = ", ".join(classes[:_FEW]) + ", ..." * (len(classes) > _FEW)
    raise ImageError(f"{source.where}: {missing!r} is no class of the model, which knows {few}")
