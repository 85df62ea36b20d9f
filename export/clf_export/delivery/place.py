"""Where a delivery goes: a file or a folder that appears whole under its name, or not at all."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clf_export.errors import OutputError
from clf_export.outputs import refuse_existing
from clf_runtime.whole_file import made_folder, refuse_place


def refuse_taken(place: Path, folder: bool, *, overwrite: bool) -> None:
    """Raise OutputError if a file or folder exists already (unless `overwrite`), or cannot be made."""
    if not folder:
        refuse_existing(place, overwrite=overwrite)
        return
    try:
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place}: is a file, and a folder is to be written; choose another place")
        if place.exists() and not overwrite:
            raise OutputError(f"{place}: exists already; choose another place, or pass --overwrite")
        refuse_place(place)
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror or error}; choose another place") from None


@contextmanager
def named_at_end(place: Path, folder: bool, refuse: Callable[[], object] | None = None) -> Iterator[Path]:
    """Give a path to write a file or into a folder to, which is synced and gets its name when the block succeeds.

    A folder that is there already by then is replaced if `refuse` raises nothing; without `refuse` only if each of its
    files has one of the same name in the new one.
    Raises OutputError if it cannot be written, or a folder there holds other files.
    """
    place = place.absolute()
    try:
        # inside a folder of its own, and there by its own name, which tools read
        with (
            made_folder(place.parent),
            tempfile.TemporaryDirectory(prefix=f".{place.name}.", suffix=".partial", dir=place.parent) as aside,
        ):
            partial, replaced = Path(aside) / "new" / place.name, Path(aside) / "replaced"
            partial.parent.mkdir()
            if not folder:
                yield partial
                _sync(partial)
                partial.replace(place)
                return
            partial.mkdir()
            yield partial
            for written in partial.rglob("*"):
                if written.is_file():
                    _sync(written)
            if place.exists():
                if refuse is None:
                    _refuse_other_files(place, partial)
                else:
                    refuse()
                place.rename(replaced)
            try:
                partial.rename(place)
            except BaseException:
                if replaced.exists():
                    replaced.rename(place)
                raise
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror or error}") from None


def _sync(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _refuse_other_files(place: Path, new: Path) -> None:
    for folder, _, files in os.walk(place):
        for name in files:
            inside = (Path(folder) / name).relative_to(place)
            if not (new / inside).is_file():
                raise OutputError(f"{place}: also holds {inside}, which is of no such delivery; choose another place")
