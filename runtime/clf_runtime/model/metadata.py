"""A model card as the metadata of an `.onnx` file, and back.

For other tools there are the keys that are in common use: `names`, `task`, `imgsz`, `description` and so on, as
Ultralytics writes them, and ONNX's own `Image.*` keys (https://onnx.ai/onnx/repo-docs/MetadataProps.html). The runtime
reads those with the prefix `clf_edge.`, each value as JSON.
"""

import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from clf_runtime.errors import ModelError, brief
from clf_runtime.model.card import ModelCard
from clf_runtime.model.familiarity import Control, Familiarity
from clf_runtime.model.geometry import Geometry
from clf_runtime.model.names import read_names
from clf_runtime.model.open_set import OpenSet
from clf_runtime.model.records import MAX_CLASSES, Golden, GoldenPicture, Int8, Parity
from clf_runtime.model.reference import Reference
from clf_runtime.model.values import quoted

PREFIX = "clf_edge."
SCHEMA = 3
_READ = (2, SCHEMA)
_SINCE_3 = ("geometry", "golden_picture", "input")
MAX_CARD = 64 * MAX_CLASSES  # characters of a whole card; parsed they take up to 60 bytes each
_RECORDS = {
    "parity": Parity,
    "int8": Int8,
    "golden": Golden,
    "golden_picture": GoldenPicture,
    "geometry": Geometry,
    "reference": Reference,
    "familiarity": Familiarity,
    "control": Control,
    "open_set": OpenSet,
}
_BYTES = {"golden": "images", "golden_picture": "data"}  # fields in base64


def to_metadata(card: ModelCard) -> dict[str, str]:
    """Return the metadata of a model file: the card as JSON under `clf_edge.`, and the keys for other tools.

    Raises ModelError if the card is too large for from_metadata.
    """
    own = {f.name: getattr(card, f.name) for f in fields(card)}
    own |= {name: None if own[name] is None else asdict(own[name]) for name in _RECORDS}
    for name, field in _BYTES.items():
        if own[name] is not None:
            own[name][field] = binascii.b2a_base64(own[name][field], newline=False).decode("ascii")
    metadata = {PREFIX + "schema": json.dumps(SCHEMA)}
    metadata |= {PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in own.items()}
    _refuse_too_large(metadata)
    channels = card.image_shape[0]
    metadata |= _said_twice(card)
    metadata |= {
        "task": "classify",
        "description": card.description,
        "author": "clf-edge",
        "version": str(SCHEMA),
        "date": card.created,
        "license": card.license,
    }
    if channels in (1, 3):
        metadata["Image.BitmapPixelFormat"] = "Gray8" if channels == 1 else "Rgb8"
        metadata["Image.ColorSpaceGamma"] = "SRGB"
    nominal = {(0.0, 255.0): "NominalRange_0_255", (0.0, 1.0): "Normalized_0_1", (-1.0, 1.0): "Normalized_1_1"}
    if card.value_range in nominal:
        metadata["Image.NominalPixelRange"] = nominal[card.value_range]
    return metadata


def _said_twice(card: ModelCard) -> dict[str, str]:
    """The keys for other tools that repeat what the card says, so that the two must agree."""
    channels, height, width = card.image_shape
    return {
        "names": json.dumps({str(i): name for i, name in enumerate(card.names)}, ensure_ascii=False),
        "imgsz": json.dumps([height, width]),
        "channels": json.dumps(channels),
    }


def _refuse_too_large(metadata: Mapping[str, str]) -> None:
    size = sum(
        len(metadata.get(PREFIX + name, "")) for name in ("schema", *(field.name for field in fields(ModelCard)))
    )
    if size > MAX_CARD:
        raise ModelError(f"the model's card is too large: {size:,} characters, at most {MAX_CARD:,} are allowed")


def from_metadata(metadata: Mapping[str, str]) -> ModelCard | None:
    """Read a card from a session's metadata; None if the file has none.

    Raises ModelError if the card has another schema, is not JSON, lacks a field, has an invalid value (see ModelCard),
    or contradicts the file's keys for other tools.
    """
    if PREFIX + "schema" not in metadata:
        return None
    _refuse_too_large(metadata)
    schema = _parse(metadata, "schema")
    if type(schema) is not int or schema not in _READ:
        old = type(schema) is int and schema < SCHEMA
        advice = "export the model again" if old else "install a newer clf-edge"
        raise ModelError(f"the model's card has schema {quoted(schema)}, but this clf-edge reads {SCHEMA}: {advice}")
    values: dict[str, Any] = {}
    for field in fields(ModelCard):
        if PREFIX + field.name in metadata and (schema == SCHEMA or field.name not in _SINCE_3):
            values[field.name] = _tuples(_parse(metadata, field.name))
    try:
        for name, kind in _RECORDS.items():
            if values.get(name) is not None:
                values[name] = _record(name, kind, values[name])
        card = ModelCard(**values)
    except TypeError as error:
        raise ModelError(f"the model's card is incomplete or has an unknown field: {brief(error)}") from None
    for key, text in _said_twice(card).items():
        if key in metadata and not _agrees(key, metadata[key], text, card):
            other = f"the file's own key {key} contradicts it: {quoted(metadata[key])}"
            raise ModelError(f"the model's card is invalid: {other}; export it again")
    return card


def _agrees(key: str, found: str, written: str, card: ModelCard) -> bool:
    if found == written:
        return True
    if key == "names":
        return read_names(found, len(card.names)) == card.names
    try:
        return bool(_DECODER.decode(found) == json.loads(written))
    except (ValueError, RecursionError):
        return False


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate key")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_each_once)


def _parse(metadata: Mapping[str, str], key: str) -> Any:
    text = metadata[PREFIX + key]
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        why = "has a duplicate key" if str(error) == "duplicate key" else "is not JSON"
        raise ModelError(f"the model's card is damaged: {PREFIX}{key} {why}: {quoted(text)}") from None


def _record(name: str, kind: Any, values: Any) -> Any:
    if not isinstance(values, dict):
        raise TypeError(f"{name} is {quoted(values)}")
    field = _BYTES.get(name)
    if field is not None and isinstance(values.get(field), str):
        try:
            values[field] = binascii.a2b_base64(values[field], strict_mode=True)
        except ValueError as error:
            raise ModelError(f"the model's card is damaged: {name}.{field} is not base64: {error}") from None
    return kind(**values)


def _tuples(value: Any) -> Any:
    """JSON lists as tuples, for frozen records."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value
