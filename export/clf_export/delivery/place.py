"""Where a delivery goes: a file or a folder that appears whole under its name, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clf_export.errors import DeliveryError
from clf_export.outputs import refuse_existing
from clf_runtime.whole_file import refuse_place


def refuse_taken(place: Path, folder: bool, *, overwrite: bool) -> None:
    """Raise OutputError or DeliveryError if a file or folder exists already (unless `overwrite`), or cannot be made."""
    if not folder:
        refuse_existing(place, overwrite=overwrite)
        return
    try:
        if place.exists() and not place.is_dir():
            raise DeliveryError(f"{place}: is a file, and a folder is to be written; choose another place")
        if place.exists() and not overwrite:
            raise DeliveryError(f"{place}: exists already; choose another place, or pass --overwrite")
        refuse_place(place)
    except OSError as error:
        raise DeliveryError(f"{place}: cannot be written: {error.strerror or error}; choose another place") from None


@contextmanager
def named_at_end(place: Path, folder: bool) -> Iterator[Path]:
    """Give a path to write a file or into a folder to, which gets its name when the block succeeds.

    A folder that is there already is replaced only if each of its files has one of the same name in the new one.
    Raises DeliveryError if it cannot be written, or a folder there holds other files.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # inside a folder of its own, and there by its own name, which tools read
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", suffix=".partial", dir=place.parent) as aside:
            partial, replaced = Path(aside) / "new" / place.name, Path(aside) / "replaced"
            partial.parent.mkdir()
            if not folder:
                yield partial
                with partial.open("rb+") as stream:
                    os.fsync(stream.fileno())
                partial.replace(place)
                return
            partial.mkdir()
            yield partial
            if place.exists():
                _refuse_other_files(place, partial)
                place.rename(replaced)
            try:
                partial.rename(place)
            except BaseException:
                if replaced.exists():
                    replaced.rename(place)
                raise
    except OSError as error:
        raise DeliveryError(f"{place}: cannot be written: {error.strerror or error}") from None


def _refuse_other_files(place: Path, new: Path) -> None:
    for folder, _, files in os.walk(place):
        for name in files:
            inside = (Path(folder) / name).relative_to(place)
            if not (new / inside).is_file():
                raise DeliveryError(f"{place}: also holds {inside}, which is of no such delivery; choose another place")
