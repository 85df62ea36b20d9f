"""Tables with a column per pixel, as MNIST on Kaggle: a label and 784 numbers per row; one table, or one per part."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clf_runtime.datasets.csv_tables import SUFFIX, Table, look_at, tables_in
from clf_runtime.datasets.places import Place
from clf_runtime.datasets.source import Part, Reading, Source, source_of
from clf_runtime.datasets.text_labels import Labels, classes_of, numbered
from clf_runtime.errors import ImageError, brief

_LAYOUT = "a table of pixels"
_BLOCK_BYTES = 64 << 20
_MAX_ROWS = 10_000_000
_ITEM_BYTES = 8


@dataclass(frozen=True)
class _Looked:
    """A table with its rows' labels, the shape of an image, and whether all of its values are integers."""

    table: Table
    labels: tuple[str, ...]
    shape: tuple[int, ...]
    whole: bool


def recognises(path: Place) -> bool:
    """Whether a file starts like a table of pixels, or a folder contains one. Raises ImageError if it is not text."""
    if path.is_dir():
        return any(table.pixels for table in tables_in(path)[0])
    if path.suffix.lower() not in SUFFIX or not path.is_file():
        return False
    table = look_at(path)
    return isinstance(table, Table) and bool(table.pixels)


def look(path: Place, reading: Reading) -> Source:
    """Read the labels of the tables, and check every row once. Raises ImageError, naming the line of an invalid one."""
    if path.is_dir():
        tables, said = tables_in(path)
    else:
        table = look_at(path)
        assert isinstance(table, Table)
        tables, said = [table], list[str]()
    looked = {table.part or "train": _look(table) for table in tables}
    names = classes_of({part: each.labels for part, each in looked.items()}, reading.order)
    is_test = not path.is_dir() and tables[0].part == "test"
    parts = {"train" if is_test else part: functools.partial(_open, each, names) for part, each in looked.items()}
    return source_of(_LAYOUT, str(path), {**parts}, names, is_test=is_test, by_folder=True, notes=tuple(said))


def _look(table: Table) -> _Looked:
    labels, known = list[str](), Labels()
    values, whole = len(table.pixels), True
    for number, fields in table.rows():
        if len(labels) >= _MAX_ROWS:
            raise ImageError(f"{table.file}, line {number}: more than {_MAX_ROWS:,} rows")
        labels.append(known.take(fields[table.label], f"{table.file}, line {number}"))
        whole = whole and all(fields[i].isdecimal() for i in table.pixels)
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if side * side * channels == values:
            return _Looked(table, tuple(labels), (side, side) if channels == 1 else (3, side, side), whole)
    raise ImageError(f"{table.file}: {values:,} columns of pixels, neither a greyscale nor an RGB square")


def _open(looked: _Looked, names: Sequence[str]) -> Part:
    where, shape = str(looked.table.file), looked.shape
    labels = numbered(looked.labels, names, where)
    size = f"{shape[-2]}x{shape[-1]}"
    as_colours = f"{where}: the values of a row are read as {size} RGB pixels"
    return Part(
        where,
        len(labels),
        shape,
        lambda: labels,
        functools.partial(_blocks, looked),
        lambda i: f"{where}[{i}]",
        notes=(as_colours,) * (len(shape) == 3),
    )


def _blocks(looked: _Looked, size: int, keep: np.ndarray | None) -> Iterator[np.ndarray]:
    table = looked.table
    at_once = max(1, min(size, _BLOCK_BYTES // (_ITEM_BYTES * len(table.pixels))))
    held: list[np.ndarray] = []
    rows = 0
    for number, fields in table.rows():
        if rows >= len(looked.labels):
            break
        if keep is None or keep[rows]:
            held.append(_values(looked, [fields[i] for i in table.pixels], f"{table.file}, line {number}"))
        rows += 1
        if len(held) == at_once:
            yield np.stack(held)
            held = []
    if rows != len(looked.labels):
        raise ImageError(f"{table.file}: modified while it was read")
    if held:
        yield np.stack(held)


def _values(looked: _Looked, fields: Sequence[str], where: str) -> np.ndarray:
    number = int if looked.whole else float
    try:
        values = np.array(list(map(number, fields)), np.int64 if looked.whole else np.float32)
    except (ValueError, OverflowError) as error:
        raise ImageError(f"{where}: a pixel that is not a number: {brief(error, 120)}") from None
    if looked.whole:
        if values.max() > 255:
            raise ImageError(f"{where}: a pixel of {values.max()}; expected 0 to 255")
        values = values.astype(np.uint8)
    if len(looked.shape) == 3:  # the three values of a pixel are adjacent
        values = values.reshape(-1, 3).T
    return values.reshape(looked.shape)
