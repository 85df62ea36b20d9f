"""Records as JSON: frozen dataclasses, read back with every field checked.

A record contains the SHA-256 of its own content, so that any change, on disk or by hand, is detected.
"""

import hashlib
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from clf_runtime.bounded import read_bounded
from clf_train.errors import RunError
from clf_train.files import whole_file

_MAX_JSON_BYTES = 64 << 20
_CHECKSUM = "sha256"  # of all other fields

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


def write_record(file: Path, record: Any) -> None:
    """Write a dataclass atomically.

    Raises OSError as the system does, and RunError, before anything is written, for what read_record would reject.
    """
    content = asdict(record)
    text = json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=1) + "\n"
    try:
        if len(text.encode()) > _MAX_JSON_BYTES:
            raise ValueError(f"it would be larger than the limit of {_MAX_JSON_BYTES >> 20} MiB")
        revive(type(record), json.loads(json.dumps(content)), type(record).__name__.lower())
    except ValueError as error:
        raise RunError(f"{file}: cannot be written: {error}") from None
    with whole_file(file) as partial:
        partial.write_text(text, "utf-8")


def read_record(kind: Any, file: Path, schema: int, older: Mapping[int, Upgrade] = {}) -> Any:
    """Read a dataclass of this kind and schema, or of an `older` one, whose fields are then converted.

    Records of older schemas may lack the checksum.
    Raises RunError if the file is missing, damaged, changed since it was written, or of another schema.
    """
    try:
        text = read_bounded(file, _MAX_JSON_BYTES)
    except OSError as error:
        raise RunError(
            f"{file}: cannot be read: {error.strerror}; is {file.parent} a run folder of clf-train?"
        ) from None
    try:
        if text is None:
            raise ValueError("it is too large")
        raw = json.loads(text)
        if not isinstance(raw, dict) or type(stated := raw.get("schema")) is not int:
            raise ValueError("it has no schema")
        if stated != schema and stated not in older:
            raise ValueError(f"its schema is {stated}, but this clf-edge reads {schema}; train again")
        checksum = raw.pop(_CHECKSUM, None)
        if (checksum is not None or stated == schema) and checksum != _checksum(raw):
            raise ValueError("it was modified: its content does not match its checksum")
        return revive(kind, raw if stated == schema else older[stated](raw), kind.__name__.lower())
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file}: damaged, or of another version of clf-edge: {error}") from None


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def revive(kind: Any, value: Any, where: str) -> Any:
    """Build a value of an annotated type from parsed JSON. Raises ValueError, naming the field, if it does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        hints = typing.get_type_hints(kind)
        if set(hints) != set(value):
            raise ValueError(f"{where} has other fields: {', '.join(sorted(set(hints) ^ set(value)))}")
        return kind(**{name: revive(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})  # type: ignore[operator]
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(kinds) != len(value):
            raise ValueError(f"{where} has {len(value)} items, not {len(kinds)}")
        return tuple(revive(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict and isinstance(value, dict):
        return {str(k): revive(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is typing.Literal and value in arguments:
        return value
    if origin is types.UnionType:
        return None if value is None else revive(arguments[0], value, where)
    if kind is float and type(value) in (int, float) and -1e300 <= value <= 1e300:
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {str(value)[:60]!r}")
