"""Four tensors of `torch.save`, read without torch: train_data_2, train_labels_2, test_data_2, test_labels_2.

Also without the `_2`, and with the extension `.pt` or `.pth`. Either pair may be absent.
"""

import functools
from pathlib import Path

from clf_runtime.datasets.listing import refuse_extra
from clf_runtime.datasets.source import Part, Reading, Source
from clf_runtime.datasets.torch_save import look_into, part_of_tensors
from clf_runtime.errors import ImageError

LAYOUT = "tensors of torch.save"
_SUFFIXES = ("_2", "", "_2.pt", ".pt", "_2.pth", ".pth")
_PARTS, _KINDS = ("train", "test"), ("data", "labels")


def recognises(path: Path) -> bool:
    """Whether a folder contains a file named like images or labels."""
    return path.is_dir() and bool(_suffixes(path))


def look(path: Path, reading: Reading) -> Source:
    """Inspect a folder of tensors: which of its files exist."""
    train, test = (functools.partial(_open, *pair) if pair else None for pair in pairs(path))
    return Source(LAYOUT, str(path), train, test)


def pairs(path: Path) -> tuple[tuple[Path, Path] | None, tuple[Path, Path] | None]:
    """The files of images and labels of the training and of the test part.

    Raises ImageError if one of a pair is missing, or the folder contains anything else.
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
    """The suffixes of the training files, or of the test files if there are none."""
    found = ([s for s in _SUFFIXES if any((path / f"{p}_{kind}{s}").is_file() for kind in _KINDS)] for p in _PARTS)
    return next(filter(None, found), [])


def _open(images: Path, labels: Path) -> Part:
    return part_of_tensors(look_into(images), look_into(labels))
