"""ModelCard: what a model file says of itself, in the metadata of the one `.onnx` file.

Two audiences read it. Other tools find the keys that the ecosystem knows: `names`, `task`, `imgsz`, `description` and
so on, as Ultralytics writes them, and ONNX's own `Image.*` keys (https://onnx.ai/onnx/repo-docs/MetadataProps.html).
Ours stand under the prefix `clf_edge.`, each value a JSON text, and are what the runtime reads.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from clf_runtime.errors import ModelError

PREFIX = "clf_edge."
SCHEMA = 1
MAX_CLASSES = 100_000
MAX_PIXELS = 1 << 24  # channels x height x width of one image
_LARGEST = 1e300  # of a number; NaN is not below it either
MAX_TEXT = 10_000  # characters of one name or description


@dataclass(frozen=True)
class Parity:
    """How the file's answers compared with PyTorch's when it was exported, over `images` test images.

    `max_difference` is the largest absolute difference of a probability, `differing` the count of images whose class
    differs (each of them a tie within `tolerance`), the accuracies are shares in [0, 1].
    """

    images: int
    max_difference: float
    tolerance: float
    differing: int
    torch_accuracy: float
    onnx_accuracy: float
    data_fingerprint: str
    onnxruntime: str


@dataclass(frozen=True)
class ModelCard:
    """What a model takes and gives, where it comes from, and how good it is.

    `image_shape` is (channels, height, width); images go in as NCHW, channels in RGB order. `dtype` is `uint8` or
    `float32`, `value_range` the lowest and highest value that an image may hold. `mean` and `std` (one a channel, in
    the units of the image) and `temperature` are already in the graph; they stand here to be read, not applied.
    """

    model: str
    names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    dtype: str
    value_range: tuple[float, float]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    temperature: float = 1.0
    layout: str = "NCHW"
    description: str = ""
    created: str = ""  # when the training ended: ISO 8601, UTC
    run: str = ""
    recipe: str = ""
    data: str = ""
    data_fingerprint: str = ""
    parameters: int = 0
    test_images: int = 0
    test_accuracy: float | None = None  # a share in [0, 1], of PyTorch, when the training ended
    parity: Parity | None = None

    def __post_init__(self) -> None:
        _check(self)


def to_metadata(card: ModelCard) -> dict[str, str]:
    """Return the metadata of a model file: ours as JSON under `clf_edge.`, and the names that other tools read."""
    own = {f.name: getattr(card, f.name) for f in fields(card)}
    own["parity"] = None if card.parity is None else vars(card.parity)
    metadata = {PREFIX + "schema": json.dumps(SCHEMA)}
    metadata |= {PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in own.items()}
    channels, height, width = card.image_shape
    metadata |= {
        "names": json.dumps({str(i): name for i, name in enumerate(card.names)}, ensure_ascii=False),
        "task": "classify",
        "imgsz": json.dumps([height, width]),
        "channels": json.dumps(channels),
        "description": card.description,
        "author": "clf-edge",
        "version": str(SCHEMA),
        "date": card.created,
    }
    if channels in (1, 3):
        metadata["Image.BitmapPixelFormat"] = "Gray8" if channels == 1 else "Rgb8"
        metadata["Image.ColorSpaceGamma"] = "SRGB"
    nominal = {(0.0, 255.0): "NominalRange_0_255", (0.0, 1.0): "Normalized_0_1", (-1.0, 1.0): "Normalized_1_1"}
    if card.value_range in nominal:
        metadata["Image.NominalPixelRange"] = nominal[card.value_range]
    return metadata


def from_metadata(metadata: Mapping[str, str]) -> ModelCard | None:
    """Read a card from a session's metadata; None if the file carries none.

    Raises ModelError if the card is of a newer schema, is not JSON, lacks a field, or holds an impossible value.
    """
    if PREFIX + "schema" not in metadata:
        return None
    schema = _parse(metadata, "schema")
    if schema != SCHEMA:
        raise ModelError(
            f"the model's card has schema {_brief(schema)}, this clf-edge reads {SCHEMA}: install a newer clf-edge"
        )
    values: dict[str, Any] = {}
    for field in fields(ModelCard):
        if PREFIX + field.name in metadata:
            value = _parse(metadata, field.name)
            values[field.name] = tuple(value) if isinstance(value, list) else value
    try:
        if values.get("parity") is not None:
            values["parity"] = Parity(**values["parity"])
        return ModelCard(**values)
    except TypeError as error:
        raise ModelError(f"the model's card is incomplete or has an unknown field: {error}") from None


def _parse(metadata: Mapping[str, str], key: str) -> Any:
    text = metadata[PREFIX + key]
    if len(text) > 64 * MAX_CLASSES:
        raise ModelError(f"the model's card is too large: {PREFIX}{key} has {len(text):,} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(f"the model's card is damaged: {PREFIX}{key} is not JSON: {_brief(text)}") from None


def _check(card: ModelCard) -> None:
    def demand(condition: bool, field: str, wanted: str) -> None:
        if not condition:
            raise ModelError(f"the model's card is wrong: {field} must be {wanted}, not {_brief(getattr(card, field))}")

    for field in ("model", "layout", "description", "created", "run", "recipe", "data", "data_fingerprint"):
        value = getattr(card, field)
        demand(isinstance(value, str) and len(value) <= MAX_TEXT, field, f"text of at most {MAX_TEXT} characters")
    demand(
        isinstance(card.names, tuple)
        and 2 <= len(card.names) <= MAX_CLASSES
        and all(isinstance(name, str) and 0 < len(name) <= MAX_TEXT for name in card.names),
        "names",
        f"2 to {MAX_CLASSES} class names",
    )
    demand(
        isinstance(card.image_shape, tuple)
        and len(card.image_shape) == 3
        and all(type(n) is int and n > 0 for n in card.image_shape)
        and math.prod(card.image_shape) <= MAX_PIXELS,
        "image_shape",
        f"[channels, height, width], at most {MAX_PIXELS} values",
    )
    channels = card.image_shape[0]
    demand(card.dtype in ("uint8", "float32"), "dtype", "uint8 or float32")
    demand(card.layout in ("NCHW", "NHWC"), "layout", "NCHW or NHWC")
    demand(
        _numbers(card.value_range, (2,)) and card.value_range[0] < card.value_range[1],
        "value_range",
        "[lowest, highest]",
    )
    demand(_numbers(card.mean, (0, channels)), "mean", "one number a channel")
    demand(_numbers(card.std, (0, channels)) and all(s > 0 for s in card.std), "std", "one positive number a channel")
    demand(_numbers((card.temperature,), (1,)) and card.temperature > 0, "temperature", "a positive number")
    for field in ("parameters", "test_images"):
        value = getattr(card, field)
        demand(type(value) is int and value >= 0, field, "a whole number")
    accuracy = card.test_accuracy
    demand(accuracy is None or (_numbers((accuracy,), (1,)) and 0 <= accuracy <= 1), "test_accuracy", "in 0..1")
    parity = card.parity
    if parity is not None:
        demand(
            type(parity.images) is int
            and type(parity.differing) is int
            and _numbers((parity.max_difference, parity.tolerance, parity.torch_accuracy, parity.onnx_accuracy), (4,))
            and isinstance(parity.data_fingerprint, str)
            and isinstance(parity.onnxruntime, str),
            "parity",
            "the figures of a comparison",
        )


def _numbers(values: object, lengths: tuple[int, ...]) -> bool:
    """Whether `values` is a tuple of one of these lengths that holds finite numbers only."""
    return (
        isinstance(values, tuple)
        and len(values) in lengths
        and all(type(v) in (int, float) and -_LARGEST <= v <= _LARGEST for v in values)
    )


def _brief(value: object) -> str:
    text = f"a {type(value).__name__}" if isinstance(value, tuple | list | dict) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
