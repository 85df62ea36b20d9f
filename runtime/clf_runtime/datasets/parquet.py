"""Parquet files as of image data sets on the Hugging Face Hub: a column of encoded pictures and one of labels.

The part is in the name: data/train-00000-of-00001.parquet, train/0000.parquet. A picture is a struct of its bytes
and a path, which is not followed; class names are in the schema
(https://huggingface.co/docs/datasets/about_dataset_features).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clf_runtime.datasets.csv_tables import MAX_LABEL_CHARACTERS, part_of_words
from clf_runtime.datasets.listing import part_of_name, visible
from clf_runtime.datasets.parquet_file import ParquetFile, look_at, opened, types_of_arrow
from clf_runtime.datasets.pictures import part_of_pictures
from clf_runtime.datasets.places import Content
from clf_runtime.datasets.source import Part, Reading, Source, as_labels, source_of
from clf_runtime.datasets.text_labels import Labels, classes_of, numbered
from clf_runtime.errors import ImageError
from clf_runtime.inputs.pictures import MAX_FILE_BYTES

_LAYOUT = "parquet of pictures"
_PICTURES_AT_ONCE, _LABELS_AT_ONCE = 16, 65_536


def recognises(path: Path) -> bool:
    """Whether this is a `.parquet`, or a folder with some, or with folders of some."""
    return _is_parquet(path) or bool(path.is_dir() and _files(path))


def look(path: Path, reading: Reading) -> Source:
    """Inspect the schemas, and read the labels if they are strings. Raises ImageError if files are inconsistent."""
    groups: dict[str, list[ParquetFile]] = {}
    for file in [path] if path.is_file() else _files(path):
        part = part_of_words(file.stem) or part_of_name(file.parent.name) if file != path else None
        groups.setdefault(part or "", []).append(look_at(file))
    if "" in groups and len(groups) > 1:
        raise ImageError(f"{groups[''][0].path}: its name says no part, unlike those of the other files")
    groups = {part or "train": files for part, files in groups.items()}
    first = next(iter(groups.get("train") or next(iter(groups.values()))))
    for other in (file for files in groups.values() for file in files):
        if (other.images, other.labels, other.names) != (first.images, first.labels, first.names):
            raise ImageError(f"{other.path}: has other columns or class names than {first.path}; keep one data set")
    texts = {part: _texts(files) for part, files in groups.items()} if first.names is None else {}
    names = first.names
    if any(texts.values()):
        names = classes_of({part: labels or () for part, labels in texts.items()}, reading.order)
    said = f"labels are from the column {first.labels}, not from {', '.join(first.others)}"
    parts = {
        part: partial(_open, tuple(files), texts.get(part), names, reading, str(path)) for part, files in groups.items()
    }
    return source_of(
        _LAYOUT,
        str(path),
        {**parts},
        names,
        is_test=path.is_file() and part_of_words(path.stem) == "test",
        by_folder=any(texts.values()),
        notes=(said,) * bool(first.others),
    )


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet" and path.is_file()


def _files(folder: Path, depth: int = 2) -> list[Path]:
    found = []
    for entry in visible(folder):
        if _is_parquet(entry):
            found.append(entry)
        elif depth and entry.is_dir() and not entry.is_symlink():
            found += _files(entry, depth - 1)
    return found


def _columns(file: ParquetFile) -> Iterator[Any]:
    """The labels of a file, as arrow's arrays."""
    with opened(file.path, file.stamp) as (reader, _):
        for batch in reader.iter_batches(_LABELS_AT_ONCE, columns=[file.labels], use_threads=False):
            yield batch.column(0)


def _texts(files: Sequence[ParquetFile]) -> list[str] | None:
    """The labels of a part if they are strings, else None."""
    taken, labels = list[str](), Labels()
    for file in files:
        for column in _columns(file):
            if not types_of_arrow(file.path).is_string(column.type):
                return None
            for label in column.to_pylist():
                if not label or len(label) > MAX_LABEL_CHARACTERS:
                    raise ImageError(f"{file.path}, row {len(taken)}: no label, or a too long one")
                taken.append(labels.take(label, str(file.path)))
    return taken


def _open(
    files: Sequence[ParquetFile],
    texts: Sequence[str] | None,
    names: Sequence[str] | None,
    reading: Reading,
    where: str,
) -> Part:
    if texts is not None:
        labels = numbered(texts, names or (), where)
    else:
        columns = [column.to_numpy(zero_copy_only=False) for file in files for column in _columns(file)]
        labels = as_labels(np.concatenate(columns) if columns else np.empty(0, np.int64), where)
    starts = np.cumsum([0, *(file.rows for file in files)])
    if len(labels) != starts[-1]:
        raise ImageError(f"{where}: {starts[-1]:,} pictures, but {len(labels):,} labels")

    def place(i: int) -> str:
        n = int(np.searchsorted(starts, i, "right")) - 1
        return f"{files[n].path}[{i - int(starts[n])}]"

    def fetch(rows: Sequence[int]) -> Iterator[Content]:
        wanted = np.asarray(rows, np.int64)
        for file, start in zip(files, starts, strict=False):
            inner = wanted[(wanted >= start) & (wanted < start + file.rows)] - start
            if len(inner):
                yield from read_pictures(file, inner)

    return part_of_pictures(where, fetch, place, [file.path for file in files], labels, reading)


def read_pictures(file: ParquetFile, rows: np.ndarray) -> Iterator[Content]:
    """The bytes of the pictures in some rows, ascending; row groups without any are skipped."""
    with opened(file.path, file.stamp) as (reader, _):
        start, given = 0, 0
        for i in range(reader.metadata.num_row_groups):
            count = reader.metadata.row_group(i).num_rows
            if ((rows >= start) & (rows < start + count)).any():
                for content in _of_group(
                    reader, i, file.images, rows[(rows >= start) & (rows < start + count)] - start, file.path, start
                ):
                    yield content
                    given += 1
            start += count
    if given < len(rows):
        raise ImageError(f"{file.path}: damaged: it contains fewer pictures than the {file.rows:,} it claims")


def _of_group(reader: Any, group: int, column: str, rows: np.ndarray, path: Path, start: int) -> Iterator[Content]:
    first = 0
    for batch in reader.iter_batches(_PICTURES_AT_ONCE, row_groups=[group], columns=[column], use_threads=False):
        values = batch.column(0)
        values = values.field("bytes") if "." in column else values
        for i in rows[(rows >= first) & (rows < first + len(values))] - first:
            buffer = values[int(i)].as_buffer()
            if buffer is None:
                yield ImageError(f"{path}[{start + first + int(i)}]: a picture without bytes")
            else:
                yield buffer.to_pybytes() if buffer.size <= MAX_FILE_BYTES else None
        first += len(values)
