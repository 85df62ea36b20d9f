"""Sources: what `--data` takes, told apart by looking at the files, never by a flag.

Each module reads one layout: `recognises(path)` looks, `read(path)` gives the Parts. Two sources are words, not paths:
`digits`, embedded in scikit-learn, and `cifar10`, downloaded once.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from clf_train.data import cifar10, digits, folders, npz, tensors
from clf_train.data.dataset import Dataset, Parts, assemble, check_names
from clf_train.errors import DataError

WORDS = ("digits", "cifar10")
_LAYOUTS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Parts]], ...] = tuple(
    (layout.recognises, layout.read) for layout in (tensors, npz, cifar10, folders)
)
_KNOWN = (
    "known are: train_data_2, train_labels_2, test_data_2, test_labels_2 written with torch.save; class-named folders "
    "of PNG or JPEG under train/ and test/; the CIFAR-10 binary or python version, packed or not; .npz with images, "
    "labels, names; or one of the words digits and cifar10"
)


def read_source(source: str | Path, names: str | Sequence[str] | None = None) -> Dataset:
    """Read a source of labelled images: a folder or file in any known layout, or the word `digits` or `cifar10`.

    The words win over folders of their names, which are `./digits` and `./cifar10`. `names` gives class names where the
    source has none or others are wanted: themselves, a text file with one a line, or a text with commas between. Else
    the source's own names count, then a `names.txt` in the folder, then "0" to "n-1".
    Raises DataError, in one line that names the file, if anything about the source is wrong.
    """
    try:
        path = Path(source).expanduser()
    except RuntimeError:  # a home folder that is not known
        path = Path(source)
    try:
        named = _parse_names(names) if isinstance(names, str) else tuple(names) if names else None
        if isinstance(source, str) and source in WORDS:
            parts = digits.read() if source == "digits" else cifar10.download_and_read()
            return assemble(source, parts, named)
        parts = _read_path(path)
        if named is None and parts.names is None and (path / "names.txt").is_file():
            named = _read_names(path / "names.txt")
        return assemble(os.path.realpath(path), parts, named)
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory") from None


def _read_path(path: Path) -> Parts:
    if not os.path.exists(path):  # unlike Path.exists it raises for no path whatever
        raise DataError(f"{path}: no such file or folder (the words are {' and '.join(WORDS)})")
    for recognises, read in _LAYOUTS:
        if recognises(path):
            return read(path)
    if path.is_dir():
        inner = [p for p in sorted(path.iterdir()) if p.name in cifar10.FOLDERS]
        if len(inner) == 1:
            return _read_path(inner[0])
    raise DataError(f"{path}: no layout that is known; {_KNOWN}")


def _parse_names(names: str) -> tuple[str, ...]:
    if os.path.isfile(names):  # unlike Path.is_file it takes a text that is too long for a path
        return _read_names(Path(names))
    if "," not in names:
        raise DataError(
            f"--names {names}: no such file; give a file with one name a line, or names with commas between"
        )
    return check_names(names.split(","), "--names")


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: class names must be text in UTF-8, one a line") from None
    return check_names(text.rstrip().splitlines(), str(path))
