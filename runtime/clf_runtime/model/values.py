"""Values of a card: whether they have their declared types and are bounded, and how messages quote them."""

import typing
from dataclasses import fields

from clf_runtime.model.names import is_text
from clf_runtime.model.records import MAX_CLASSES

_LARGEST = 1e300  # of a number; excludes NaN too


def is_share(value: object) -> bool:
    """Whether a value is a number in [0, 1]."""
    return is_a(value, float) and 0 <= value <= 1  # type: ignore[operator]


def fits(record: object, kind: type) -> bool:
    """Whether a record is None, or of this dataclass with every field of its declared type."""
    if record is None or type(record) is not kind:
        return record is None
    hints = typing.get_type_hints(kind)
    return all(is_a(getattr(record, field.name), hints[field.name]) for field in fields(kind))  # type: ignore[arg-type]


def is_a(value: object, kind: object) -> bool:
    """Whether a value has one of the declared types, is bounded and finite, and if text can be encoded."""
    if kind is float:
        return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST  # type: ignore[operator]
    if kind is int:
        return type(value) is int and 0 <= value < 1 << 63
    if kind is str:
        return is_text(value)
    if kind in (bool, bytes):
        return type(value) is kind
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return isinstance(value, tuple) and len(value) <= MAX_CLASSES and all(is_a(v, item) for v in value)
    return value is None or is_a(value, typing.get_args(kind)[0])  # `kind` or None


def quoted(value: object) -> str:
    """A value for an error message, in at most 60 characters."""
    plain = str | int | float | bool | None
    if isinstance(value, plain) or (
        isinstance(value, tuple) and len(value) < 5 and not any(type(v) is tuple for v in value)
    ):
        text = repr(value) if not isinstance(value, int) or -_LARGEST <= value <= _LARGEST else "a huge number"
        return text if len(text) <= 60 else text[:57] + "..."
    return f"a {type(value).__name__}"
