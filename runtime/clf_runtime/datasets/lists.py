"""Lists of pictures: a table with a path or an id and a label, and the pictures below its folder.

One list for all, with or without a column for the part, or one per part: train.csv, val.csv, test.csv.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clf_runtime.datasets.csv_tables import SUFFIX, Table, look_at, tables_in
from clf_runtime.datasets.listing import part_of_name
from clf_runtime.datasets.pictures import list_names, part_of_files
from clf_runtime.datasets.places import Place
from clf_runtime.datasets.pool import Pool
from clf_runtime.datasets.source import Part, Reading, Source, source_of
from clf_runtime.datasets.text_labels import Labels, classes_of, numbered
from clf_runtime.errors import ImageError
from clf_runtime.inputs.paths import MAX_FILES
from clf_runtime.inputs.picture_formats import SUFFIXES

_LAYOUT = "a list of pictures"


@dataclass(frozen=True)
class _Entry:
    """A row of a list: the path of its picture in the folder, None if missing, its label, and the path as written."""

    path: str | None
    label: str
    text: str
    line: int


@dataclass(frozen=True)
class _Part:
    where: str
    entries: list[_Entry] = field(default_factory=list)


def recognises(path: Place) -> bool:
    """Whether a file is a list by its first line, or a folder contains one. Raises ImageError if it is not text."""
    if path.is_dir():
        return any(table.path is not None for table in tables_in(path)[0])
    if path.suffix.lower() not in SUFFIX or not path.is_file():
        return False
    table = look_at(path)
    return isinstance(table, Table) and table.path is not None


def look(path: Place, reading: Reading) -> Source:
    """Read the lists, and find their pictures. Raises ImageError, naming the list and the line, if one is missing."""
    if path.is_dir():
        folder = path
        tables, said = tables_in(path)
    else:
        table = look_at(path)
        assert isinstance(table, Table)
        assert isinstance(path, Path)  # in an archive it is always a folder
        folder, tables, said = path.parent, [table], list[str]()
    for table in tables:
        if table.path is None:
            raise ImageError(f"{table.file}: a table of pixels beside lists of pictures; remove it")
    pool = Pool(folder)
    parts: dict[str, _Part] = {}
    count = 0
    for table in tables:
        for part, entry in _entries(table, pool):
            parts.setdefault(part, _Part(str(table.file))).entries.append(entry)
            count += 1
            if count > MAX_FILES:
                raise ImageError(f"{table.file}: the lists have more than {MAX_FILES:,} rows")
    if not count:
        raise ImageError(f"{path}: the list has no rows; expected one per picture, with a path and a label")
    missing = [f"{p.where}, line {e.line} ({e.text})" for p in parts.values() for e in p.entries if e.path is None]
    if missing and not reading.skip_bad:
        raise ImageError(
            f"{folder}: {len(missing):,} picture{'s' * (len(missing) > 1)} of the list are missing: "
            f"{list_names(missing)}; add them, or pass --skip-bad to skip them"
        )
    named = {entry.path for part in parts.values() for entry in part.entries}
    unnamed = sum(path not in named and path.lower().endswith(SUFFIXES) for path in pool.files)
    if unnamed:
        said.append(f"skipped, since no list names them: {unnamed:,} pictures below {folder}")
    names = classes_of({part: [entry.label for entry in p.entries] for part, p in parts.items()}, reading.order)
    opened = {part: functools.partial(_open, p, pool, names, reading) for part, p in parts.items()}
    is_test = not path.is_dir() and tables[0].part == "test"
    if is_test and set(opened) == {"test"}:
        opened = {"train": opened["test"]}
    return source_of(_LAYOUT, str(path), {**opened}, names, is_test=is_test, by_folder=True, notes=tuple(said))


def _entries(table: Table, pool: Pool) -> Iterator[tuple[str, _Entry]]:
    """The entries of a list with their parts."""
    assert table.path is not None
    labels = Labels()
    for number, fields in table.rows():
        where = f"{table.file}, line {number}"
        text, part = fields[table.path], table.part
        if part is None and table.split is not None:
            part = part_of_name(fields[table.split])
            if part is None:
                raise ImageError(f"{where}: {fields[table.split][:60]!r} is not a part; expected train, val or test")
        label = labels.take(fields[table.label], where)
        yield part or "train", _Entry(pool.find(text, part, where), label, text[:200], number)


def _open(part: _Part, pool: Pool, names: Sequence[str], reading: Reading) -> Part:
    there = [entry for entry in part.entries if entry.path is not None]
    lost = tuple(f"{part.where}, line {entry.line} ({entry.text})" for entry in part.entries if entry.path is None)
    labels = numbered([entry.label for entry in there], names, part.where)
    files = [pool.files[entry.path or ""] for entry in there]
    said = (f"skipped, since they are missing: {list_names(lost)}",) if lost else ()
    opened = part_of_files(part.where, files, labels, reading, said)
    return replace(opened, skipped=(*lost, *opened.skipped))
