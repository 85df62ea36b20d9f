"""One file of `torch.save`, read without torch, with images and labels: a pair, a dict, or several of them by part.

    (images, labels)    ((x_train, y_train), (x_test, y_test))    (x_train, y_train, x_test, y_test)
    {"images": ..., "labels": ...}    {"x_train": ..., "y_train": ..., ...}    {"train": (images, labels), "test": ...}

Or a folder with train.pt and test.pt, as torchvision once wrote for MNIST (training.pt, test.pt).
"""

import functools
from pathlib import Path
from typing import Any

from clf_runtime.datasets.array_names import find_keys
from clf_runtime.datasets.listing import part_of_name, refuse_extra, visible
from clf_runtime.datasets.source import Part, Reading, Source, source_of
from clf_runtime.datasets.torch_save import Tensor, look_at_values, part_of_tensors
from clf_runtime.errors import ImageError

_LAYOUT = "tensors of torch.save"
_SUFFIX = (".pt", ".pth")
_ORDER = ("train", "validation", "test")

Pair = tuple[Tensor, Tensor]


def recognises(path: Path) -> bool:
    """Whether this is a file named `.pt` or `.pth`, or a folder with a train.pt or test.pt."""
    return (path.is_file() and path.suffix.lower() in _SUFFIX) or bool(path.is_dir() and _files(path))


def look(path: Path, reading: Reading) -> Source:
    """Inspect the tensors of a file, or of a folder with one per part. Raises ImageError if they are not such pairs."""
    if path.is_file():
        pairs, names = _look(path)
        is_test = part_of_name(path.stem) == "test" and set(pairs) == {"train"}
    else:
        files = _files(path)
        refuse_extra(path, [file.name for file in files.values()], "a folder of .pt")
        pairs, names, is_test = {}, None, False
        for part in (part for part in _ORDER if part in files):
            found, listed = _look(files[part])
            if len(found) > 1:
                raise ImageError(f"{files[part]}: contains several parts; expected only the {part} part")
            if listed is not None and names is not None and listed != names:
                raise ImageError(f"{files[part]}: its class names differ from those of the other file")
            names = names or listed
            pairs[part] = next(iter(found.values()))
    parts = {part: functools.partial(_open, *pair) for part, pair in pairs.items()}
    return source_of(_LAYOUT, str(path), {**parts}, names, is_test=is_test)


def _open(images: Tensor, labels: Tensor) -> Part:
    return part_of_tensors(images, labels)


def _files(folder: Path) -> dict[str, Path]:
    """The files in a folder that are named like parts, by part."""
    found: dict[str, Path] = {}
    for file in visible(folder):
        part = part_of_name(file.stem)
        if part is None or file.suffix.lower() not in _SUFFIX:
            continue
        if part in found:
            raise ImageError(f"{folder}: both {found[part].name} and {file.name}; keep one of them in the folder")
        found[part] = file
    return found


def _look(file: Path) -> tuple[dict[str, Pair], tuple[str, ...] | None]:
    """The pairs of a file by part, and its class names if it has any."""
    value = look_at_values(file)
    names = None
    if isinstance(value, dict):
        if value and all(part_of_name(key) is not None for key in value):
            found = [(part_of_name(key) or "", item) for key, item in value.items()]
        else:
            keys = find_keys(value, str(file))
            found = [(part, [value[key] for key in pair]) for part, pair in keys.parts.items()]
            names = None if keys.names is None else _texts(value[keys.names], file)
    elif isinstance(value, tuple | list):
        found = _by_place(list(value))
    else:
        found = []
    pairs = {part: _pair(item, file) for part, item in found}
    if not pairs or len(pairs) < len(found):
        what = "a single tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ImageError(f"{file}: contains {what}; expected images and labels, as a pair or a dict of tensors")
    return pairs, names


def _by_place(values: list[Any]) -> list[tuple[str, Any]]:
    """The pairs in a list: it is one, contains two or three for the parts, or is two pairs in a row."""
    if len(values) == 2 and all(isinstance(value, Tensor) for value in values):
        return [("train", values)]
    if len(values) == 4:
        return [("train", values[:2]), ("test", values[2:])]
    parts = {2: ("train", "test"), 3: _ORDER}.get(len(values), ())
    return list(zip(parts, values, strict=False))


def _pair(value: Any, file: Path) -> Pair:
    if isinstance(value, dict):
        keys = find_keys(value, str(file))
        value = [value[key] for key in keys.parts["train"]] if set(keys.parts) == {"train"} else value
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(isinstance(item, Tensor) for item in value):
        raise ImageError(f"{file}: images and labels must be pairs of tensors")
    images, labels = value
    return images, labels


def _texts(value: Any, file: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ImageError(f"{file}: its class names are not a list of strings")
    return tuple(name.strip() for name in value)
