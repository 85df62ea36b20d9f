"""ModelCard: what a model file says of itself; metadata.py writes it into the file and reads it."""

import math
import typing
from dataclasses import dataclass, fields

from clf_runtime.errors import ModelError

MAX_CLASSES = 100_000
MAX_PIXELS = 1 << 24  # channels x height x width of one image
MAX_TEXT = 10_000  # characters of one name or description
MAX_GOLDEN = 64
ITEM_BYTES = {"uint8": 1, "float32": 4}
_LARGEST = 1e300  # of a number; NaN is not below it either


@dataclass(frozen=True)
class Parity:
    """How the file's answers compared with PyTorch's when it was exported.

    Over `images` test images `max_difference` and `mean_difference` are absolute differences of probabilities,
    `differing` counts the images whose class differs (each of them a tie within `tolerance`), the accuracies are shares
    in [0, 1], and `class_accuracies` those of onnxruntime for each class (0 where the class has no image).
    `edge_images` made-up images (black, white, one hot pixel, noise) in batches of several sizes differed by no more
    than `edge_difference`.
    """

    images: int
    max_difference: float
    mean_difference: float
    tolerance: float
    differing: int
    torch_accuracy: float
    onnx_accuracy: float
    class_accuracies: tuple[float, ...]
    edge_images: int
    edge_difference: float
    data_fingerprint: str
    onnxruntime: str


@dataclass(frozen=True)
class Golden:
    """Golden cases: held-out images and what the file answers to them, by which a device proves its own answers.

    `images` are the bytes of [cases, *image_shape] in the card's dtype and layout, in C order, little-endian;
    `probabilities` are one row a case. A device agrees if no probability differs by more than `tolerance`; on
    `provider`, the only one on which it was measured, the answers of the exporting machine varied by `difference`.
    """

    images: bytes
    probabilities: tuple[tuple[float, ...], ...]
    tolerance: float
    provider: str
    difference: float


@dataclass(frozen=True)
class Int8:
    """The verdict on int8 for this net, beside float32, measured where it was exported on held-out training images.

    Accuracies are shares in [0, 1]; `worst_drop` is what the class `worst_class` loses, in points. `p_value` is that of
    McNemar's test. `processor_difference` is the largest difference of a probability from ONNX's reference evaluator.
    Sizes are bytes; the ratios are int8's images a second by float32's for batches of 1 and 256. `recommended` says
    whether to use the int8 file, `reason` why, in a sentence.
    """

    setting: str
    images: int
    float_accuracy: float
    int8_accuracy: float
    worst_class: int
    worst_drop: float
    p_value: float | None
    processor_difference: float
    size: int
    float_size: int
    batch_1_ratio: float
    batch_256_ratio: float
    recommended: bool
    reason: str


@dataclass(frozen=True)
class ModelCard:
    """What a model takes and gives, where it comes from, and how good it is.

    `image_shape` is (channels, height, width); images go in as NCHW, channels in RGB order. `dtype` is `uint8` or
    `float32`, `value_range` the lowest and highest value that an image may hold. `mean` and `std` (one a channel, in
    the units of the image) and `temperature` are already in the graph; they stand here to be read, not applied.
    `precision` is that of the weights, `float32` or `int8`.

    Raises ModelError, naming the field, if a value is impossible.
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
    precision: str = "float32"
    description: str = ""
    license: str = ""
    created: str = ""  # when the training ended: ISO 8601, UTC
    run: str = ""
    recipe: str = ""
    data: str = ""
    data_fingerprint: str = ""
    parameters: int = 0
    test_images: int = 0
    test_accuracy: float | None = None  # a share in [0, 1], of PyTorch, when the training ended
    parity: Parity | None = None
    int8: Int8 | None = None
    golden: Golden | None = None

    def __post_init__(self) -> None:
        _check(self)


def _check(card: ModelCard) -> None:
    def demand(condition: bool, field: str, wanted: str) -> None:
        if not condition:
            raise ModelError(f"the model's card is wrong: {field} must be {wanted}, not {told(getattr(card, field))}")

    texts = ("model", "description", "license", "created", "run", "recipe", "data", "data_fingerprint")
    for field in texts:
        demand(_is(getattr(card, field), str), field, f"text of at most {MAX_TEXT:,} characters")
    demand(
        isinstance(card.names, tuple)
        and 2 <= len(card.names) <= MAX_CLASSES
        and all(_is(name, str) and name for name in card.names),
        "names",
        f"2 to {MAX_CLASSES:,} class names",
    )
    demand(
        isinstance(card.image_shape, tuple)
        and len(card.image_shape) == 3
        and all(type(n) is int and n > 0 for n in card.image_shape)
        and math.prod(card.image_shape) <= MAX_PIXELS,
        "image_shape",
        f"[channels, height, width], at most {MAX_PIXELS:,} values",
    )
    channels = card.image_shape[0]
    for field, possible in (("dtype", tuple(ITEM_BYTES)), ("layout", ("NCHW", "NHWC")), ("precision", _PRECISIONS)):
        demand(getattr(card, field) in possible, field, " or ".join(possible))
    low_high = card.value_range
    demand(_is(low_high, _NUMBERS) and len(low_high) == 2 and low_high[0] < low_high[1], "value_range", "low, high")
    demand(_is(card.mean, _NUMBERS) and len(card.mean) in (0, channels), "mean", "one number a channel")
    demand(
        _is(card.std, _NUMBERS) and len(card.std) in (0, channels) and all(s > 0 for s in card.std),
        "std",
        "one positive number a channel",
    )
    demand(_is(card.temperature, float) and card.temperature > 0, "temperature", "a positive number")
    for field in ("parameters", "test_images"):
        demand(_is(getattr(card, field), int), field, "a whole number")
    accuracy = card.test_accuracy
    demand(accuracy is None or (_is(accuracy, float) and 0 <= accuracy <= 1), "test_accuracy", "in 0..1")
    demand(_fits(card.parity, Parity), "parity", "the figures of a comparison")
    demand(_fits(card.int8, Int8), "int8", "the figures of a verdict")
    golden, classes = card.golden, len(card.names)
    demand(
        golden is None
        or (
            _fits(golden, Golden)
            and 1 <= len(golden.probabilities) <= MAX_GOLDEN
            and len(golden.images) == len(golden.probabilities) * math.prod(card.image_shape) * ITEM_BYTES[card.dtype]
            and all(len(row) == classes and all(0 <= p <= 1 for p in row) for row in golden.probabilities)
            and 0 < golden.tolerance <= 1
        ),
        "golden",
        f"1 to {MAX_GOLDEN} images with a probability a class, and a tolerance",
    )


_PRECISIONS = ("float32", "int8")
_NUMBERS = tuple[float, ...]


def _fits(record: object, kind: type) -> bool:
    """Whether a record, if there is one, is of this dataclass and each of its fields of the type that it names."""
    if record is None or type(record) is not kind:
        return record is None
    hints = typing.get_type_hints(kind)
    return all(_is(getattr(record, field.name), hints[field.name]) for field in fields(kind))  # type: ignore[arg-type]


def _is(value: object, kind: object) -> bool:
    """Whether a value is of a type that the records name: bounded, finite, and text that can be encoded."""
    if kind is float:
        return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST  # type: ignore[operator]
    if kind is int:
        return type(value) is int and 0 <= value < 1 << 63
    if kind is str:
        return isinstance(value, str) and len(value) <= MAX_TEXT and not any("\ud800" <= c <= "\udfff" for c in value)
    if kind in (bool, bytes):
        return type(value) is kind
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return isinstance(value, tuple) and len(value) <= MAX_CLASSES and all(_is(v, item) for v in value)
    return value is None or _is(value, typing.get_args(kind)[0])  # `kind` or None


def told(value: object) -> str:
    """A value as an error message shows it, in at most 60 characters."""
    if isinstance(value, str | int | float | bool | None):
        text = repr(value) if not isinstance(value, int) or -_LARGEST <= value <= _LARGEST else "a huge number"
        return text if len(text) <= 60 else text[:57] + "..."
    return f"a {type(value).__name__}"
