"""What is scored: the files of a folder and the folders in it, the lines of a list, or one file; always in one order.

Of a folder these are its pictures, .npy, .npz, .parquet, .tar and .zip files, at any depth; a list is a text with a
path per line, or a table with a column of paths, such as filename, both relative to the folder of the list.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from clf_runtime.datasets.csv_tables import MAX_LIST_LINE_BYTES, PATHS, SUFFIX, fields_of, lines
from clf_runtime.errors import ImageError, ScoringError
from clf_runtime.inputs.paths import SUFFIXES
from clf_runtime.scoring.storage import File, as_local, entries, is_remote, join, place_of, status, unreadable

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ZIPS = (".zip",)
PARQUET = (".parquet",)
_TAKEN = (*SUFFIXES, *TARS, *ZIPS, *PARQUET)
_LISTS = (".txt", ".lst", *SUFFIX)
_FEW = 5


class Skipped:
    """The files of a folder that are no images by their names: how many, and a few of the names."""

    def __init__(self) -> None:
        """Start with none."""
        self.count = 0
        self.names: list[str] = []

    def add(self, name: str) -> None:
        """Count a file."""
        self.count += 1
        if len(self.names) < _FEW:
            self.names.append(name)

    def note(self) -> str | None:
        """A sentence about them; None if there are none."""
        more = ", ..." * (self.count > len(self.names))
        said = f"skipped, since their names are not those of images: {self.count:,} ({', '.join(self.names)}{more})"
        return said if self.count else None


def refuse_around(source: str, out: str) -> None:
    """Raise ScoringError if a folder of results would be the source, or contain it: it is read as one table."""
    source, out = _real(source), _real(out)
    if source == out:
        raise ScoringError(f"{out}: is the source; give another folder, which may lie in it")
    if source.startswith(f"{out.rstrip('/')}/"):
        raise ScoringError(f"{out}: contains the source, {source}; give a folder for results alone")


def met_below(source: str, out: str) -> str:
    """The path by which `out` is met in the folder `source`, which may be a link or lie behind one; else `out`."""
    folder, place = _real(source), _real(out)
    return join(source, place[len(folder) + 1 :]) if place.startswith(f"{folder}/") else out


def _real(place: str) -> str:
    return place if is_remote(place) else os.path.realpath(place)


def files_of(source: str, leave_out: str, skipped: Skipped) -> Iterator[File]:
    """Yield the files of a source, a place as place_of gives it, without what is below the folder `leave_out`.

    Only the names of one folder are in memory. A file of a list that does not exist has the size 0 and the time 0.
    Raises ImageError if the source is missing, cannot be read, or is of no known kind.
    """
    found = status(source)
    if found is None:
        raise ImageError(f"{source}: no such file or folder")
    if found.size < 0:
        yield from _below(source, leave_out, skipped)
    elif source.lower().endswith(_LISTS):
        with as_local(source) as copy:
            yield from _of_list(source, copy)
    elif source.lower().endswith(_TAKEN):
        yield found
    else:
        raise ImageError(
            f"{source}: its name does not end in {', '.join((*_LISTS, *PARQUET, *TARS, *ZIPS, *SUFFIXES))}"
        )


def _below(folder: str, leave_out: str, skipped: Skipped) -> Iterator[File]:
    try:
        there = entries(folder)
    except OSError as error:
        raise unreadable(folder, error) from None
    for name, file in there:
        path = join(folder, name)
        if name.startswith(".") or path == leave_out:
            continue
        if file is None:
            yield from _below(path, leave_out, skipped)
        elif name.lower().endswith(_TAKEN):
            yield file
        else:
            skipped.add(name)


def _of_list(source: str, copy: Path) -> Iterator[File]:
    """The files that a list names."""
    folder = source.rpartition("/")[0] if is_remote(source) else os.path.dirname(source)
    is_table = source.lower().endswith(SUFFIX)
    column, delimiter = 0, ""
    for number, line in lines(copy, MAX_LIST_LINE_BYTES):
        text = line.strip()
        if is_table and not delimiter:
            delimiter = max(",;\t", key=line.count)
            names = [name.lower() for name in fields_of(line, delimiter, source)]
            known = next((name for name in PATHS if name in names), None)
            if known is None:
                raise ImageError(f"{source}: no column of paths, such as path or filename ({', '.join(names)[:200]})")
            column = names.index(known)
            continue
        if is_table:
            fields = fields_of(line, delimiter, f"{source}, line {number}")
            text = fields[column] if column < len(fields) else ""
        if not text or "\0" in text:
            raise ImageError(f"{source}, line {number}: no path")
        path = place_of(join(folder, text))
        found = status(path)
        yield found if found is not None and found.size >= 0 else File(path, 0, 0)
