"""One parquet file, read with pyarrow: its schema, its bounded footer, and the columns to read."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clf_runtime.bounded import open_regular, stamp
from clf_runtime.errors import ClfError, ImageError, MissingExtraError, brief

_IMAGES = ("image", "img", "picture", "image_bytes", "bytes")
_LABELS = ("label", "labels", "fine_label", "class", "category", "target")
_MAX_FOOTER_BYTES = 64 << 20
_MAX_GROUP_BYTES = 4 << 30  # of a row group, decompressed
_MAX_ROWS = 100_000_000
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class ParquetFile:
    """An inspected file: its number of rows, and the columns to read; `images` includes the field of the bytes."""

    path: Path
    stamp: tuple[int, ...]
    rows: int
    images: str
    labels: str
    names: tuple[str, ...] | None
    others: tuple[str, ...]


@contextmanager
def opened(path: Path, same: tuple[int, ...] | None = None) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Open a file with pyarrow, checking its stamp against `same` if given; yields the reader and the stamp.

    Raises ImageError if it is damaged or another file, MissingExtraError without pyarrow.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError(f'{path}: parquet files need pyarrow: pip install "clf-edge[parquet]"') from None
    with open_regular(path) as stream:
        status = os.fstat(stream.fileno())
        if same not in (None, stamp(status)):
            raise ImageError(f"{path}: the file was replaced or modified while it was read")
        stream.seek(max(0, status.st_size - 8))
        end = stream.read(8)
        footer = int.from_bytes(end[:4], "little")
        if len(end) < 8 or end[4:] != b"PAR1" or footer > min(status.st_size, _MAX_FOOTER_BYTES):
            raise ImageError(f"{path}: not a parquet file, or truncated")
        try:
            yield parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_PIECE_BYTES), stamp(status)
        except (ClfError, MemoryError):
            raise
        except Exception as error:  # ArrowInvalid, ArrowNotImplementedError, OSError of pyarrow's own, ...
            raise ImageError(f"{path}: damaged, or not supported: {brief(error, 120)}") from None


def look_at(path: Path, *, labelled: bool = True) -> ParquetFile:
    """Inspect a file's schema; `labels` is "" if there are none, unless it must be `labelled`.

    Raises ImageError if it has no pictures, or no labels, or exceeds the limits.
    """
    types = types_of_arrow(path)
    with opened(path) as (file, same):
        rows = file.metadata.num_rows
        if not 0 <= rows <= _MAX_ROWS:
            raise ImageError(f"{path}: claims {rows:,} rows, which exceeds the limit of {_MAX_ROWS:,}")
        for i in range(file.metadata.num_row_groups):  # pyarrow 26 kills the process at some damaged columns
            if not 0 <= file.metadata.row_group(i).total_byte_size <= _MAX_GROUP_BYTES:
                raise ImageError(f"{path}: a row group exceeds the limit of {_MAX_GROUP_BYTES:,} bytes")
        schema = file.schema_arrow
        fields = {field.name: field.type for field in schema}
        features = _features(schema.metadata or {}, path)
        pictures = [name for name, kind in fields.items() if _holds_bytes(kind, types)]
        labels = [n for n, kind in fields.items() if types.is_integer(kind) or types.is_string(kind)]
        classes = [name for name in labels if features.get(name, {}).get("_type") == "ClassLabel"]
        images = _choose(pictures, _IMAGES)
        label = _choose(classes, _LABELS) or _choose([name for name in labels if name in _LABELS], _LABELS)
        if images is None or (label is None and labelled):
            missing = "pictures" if images is None else "labels"
            raise ImageError(f"{path}: has no known column of {missing} (columns: {', '.join(fields)[:200]})")
        names = features.get(label, {}).get("names") if label is not None and label in classes else None
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ImageError(f"{path}: its class names are not a list of strings")
        column = f"{images}.bytes" if types.is_struct(fields[images]) else images
        others = tuple(name for name in classes if name != label)
        return ParquetFile(path, same, rows, column, label or "", None if names is None else tuple(names), others)


def types_of_arrow(path: Path) -> Any:
    """Pyarrow's module of types. Raises MissingExtraError without it."""
    try:
        import pyarrow.types
    except ImportError:
        raise MissingExtraError(f'{path}: parquet files need pyarrow: pip install "clf-edge[parquet]"') from None
    return pyarrow.types


def _holds_bytes(kind: Any, types: Any) -> bool:
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type, types)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _features(metadata: dict[bytes, bytes], path: Path) -> dict[str, dict[str, Any]]:
    """The Hub's metadata of each column, by name; empty if there is none."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, AttributeError, RecursionError):
        raise ImageError(f"{path}: damaged: the metadata of its columns is not a JSON object") from None


def _choose(names: Sequence[str], known: Sequence[str]) -> str | None:
    return next((name for name in known if name in names), names[0] if len(names) == 1 else None)
