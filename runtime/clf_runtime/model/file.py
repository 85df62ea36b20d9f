"""A model file: where it lies, its bytes, and its version fields, without numpy or onnxruntime.

They are read from protobuf's wire format (https://protobuf.dev/programming-guides/encoding/); three fields of
ONNX's ModelProto are used: ir_version = 1, opset_import = 8 and metadata_props = 14
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clf_runtime.bounded import as_path, open_regular, read_bounded
from clf_runtime.errors import ModelError, brief

MAX_MODEL_BYTES = 512 << 20
_MAX_FIELDS = 10_000
_MAX_OPSETS = 64
_MAX_DOMAIN_BYTES = 200
_FIXED = {1: 8, 5: 4}  # bytes of a field of these wire types


def default_model() -> Path:
    """The bundled model: inside the installed package, or in a checkout among the artifacts."""
    packaged = Path(__file__).parents[1] / "conv.onnx"
    return packaged if packaged.exists() else Path(__file__).parents[3] / "artifacts" / "conv.onnx"


def find_model(model: str | os.PathLike[str] | None, note: Callable[[str], object]) -> Path:
    """The local path of a model: of the bundled one for None, of a path itself, or of an address on a hub.

    `hf://owner/name[@revision][/file.onnx]` is fetched from the Hugging Face Hub, or found in its cache; `note` is then
    called with sentences on it. Raises ModelError and MissingExtraError as hub.fetch does, ModelError for what is not
    a path.
    """
    if model is None:
        return default_model()
    path = as_path(model, ModelError)
    if path.startswith("hf://"):
        from clf_runtime.model.hub import fetch

        return fetch(path, MAX_MODEL_BYTES, note)
    return Path(path)


def read_model(file: str | os.PathLike[str]) -> bytes:
    """Read a whole model file. Raises ModelError if it cannot be read, or is too large."""
    try:
        model = read_bounded(file, MAX_MODEL_BYTES)
    except OSError as error:
        raise ModelError(f"{file}: the model cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a NUL in it
        raise ModelError(f"{file}: the model cannot be read: {error}") from None
    if model is None:
        raise ModelError(f"{file}: larger than the limit for models ({MAX_MODEL_BYTES >> 20} MiB)")
    return model


@dataclass(frozen=True)
class ModelHead:
    """The versions of a model file: of ONNX's IR, and of each operator set by its domain."""

    ir_version: int
    opsets: dict[str, int]


def read_head(file: str | os.PathLike[str]) -> ModelHead:
    """Read the versions of an `.onnx` file; everything else in it is skipped, whatever its size.

    ONNX's own operators have the domain "". Raises ModelError if the file cannot be read or is not a ModelProto.
    """
    ir_version = 0
    opsets: dict[str, int] = {}
    try:
        with open_regular(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            for field, value, length in _fields(stream, size):
                if field == 1 and length is None:
                    ir_version = value
                elif field == 8 and length is not None and len(opsets) < _MAX_OPSETS:
                    domain, version = _opset(stream, stream.tell() + length)
                    opsets[domain] = version
    except OSError as error:
        raise ModelError(f"{file}: the model cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # also a path with a NUL in it
        raise ModelError(f"{file}: not an ONNX model, or truncated: {error}") from None
    if not ir_version or not opsets:
        raise ModelError(f"{file}: not an ONNX model: it has no version")
    return ModelHead(ir_version, opsets)


def refuse_key_twice(model: bytes, where: str) -> None:
    """Raise ModelError if a model's metadata has a key twice: onnxruntime uses the last one, others may not.

    `where` names the file. The rest of the model is skipped.
    """
    stream, keys = io.BytesIO(model), set()
    try:
        for field, _, length in _fields(stream, len(model)):
            if field != 14 or length is None:
                continue
            key = b""
            for part, _, part_length in _fields(stream, stream.tell() + length):
                if part == 1 and part_length is not None:
                    key = stream.read(part_length)
            if key in keys:
                name = brief(Exception(key.decode("utf-8", "backslashreplace")), 60)
                raise ModelError(f"{where}: its metadata has the key {name!r} twice; export it again")
            keys.add(key)
    except ValueError as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{where}: not a well-formed ONNX model: {error}") from None


def _opset(stream: IO[bytes], end: int) -> tuple[str, int]:
    domain, version = "", 0
    for field, value, length in _fields(stream, end):
        if field == 1 and length is not None:
            if length > _MAX_DOMAIN_BYTES:
                raise ValueError(f"a domain of {length:,} bytes")
            domain = stream.read(length).decode("utf-8", "replace")
        elif field == 2 and length is None:
            version = value
    return ("" if domain == "ai.onnx" else domain), version


def _fields(stream: IO[bytes], end: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield (field number, value, None) for numbers and (number, 0, length) for everything else, which is skipped."""
    for _ in range(_MAX_FIELDS):
        if stream.tell() >= end:
            return
        key = _varint(stream)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            yield number, _varint(stream), None
            continue
        length = _varint(stream) if wire_type == 2 else _FIXED.get(wire_type)
        start = stream.tell()
        if not number or length is None or start + length > end:
            raise ValueError(f"field {number} of type {wire_type} at byte {start:,}")
        yield number, 0, length
        stream.seek(start + length)
    raise ValueError(f"more than {_MAX_FIELDS:,} fields")


def _varint(stream: IO[bytes]) -> int:
    byte = stream.read(1)
    if byte and byte[0] < 0x80:
        return byte[0]
    value = 0
    for shift in range(0, 64, 7):
        byte = stream.read(1) if shift else byte
        if not byte:
            raise ValueError("it ends inside a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number of more than 64 bits")
