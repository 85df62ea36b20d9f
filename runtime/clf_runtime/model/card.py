"""ModelCard: what a model file says of itself; metadata.py writes it into the file and reads it."""

import math
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from clf_runtime.errors import ModelError
from clf_runtime.model.geometry import UNSTATED, Geometry
from clf_runtime.model.names import MAX_TEXT, is_text, names_fault

MAX_CLASSES = 100_000
MAX_PIXELS = 1 << 24  # channels x height x width of one image
MAX_GOLDEN = 64
# Of a probability, by the precision of the weights: what a file may allow itself. Float sums differ by some 1e-6 from
# processor to processor; int8's are rounded to 256 steps, and where answers differ by more the file is not to be used.
MOST_TOLERANCE = {"float32": 0.01, "int8": 0.1}
ITEM_BYTES = {"uint8": 1, "float32": 4}
INPUTS = ("tensor", "photo")
LEAST_SIDE = 4  # of a model that takes photos: an array [h, w, 3] could be [channels, h, w] of a smaller one
_SLACK = 1e-3  # of a sum of probabilities
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
    `probabilities` are one row a case. A device agrees if each case's likeliest class is the same, and no probability
    differs by more than `tolerance`; on `provider`, the only one on which it was measured, the answers of the exporting
    machine varied by `difference`.
    """

    images: bytes
    probabilities: tuple[tuple[float, ...], ...]
    tolerance: float
    provider: str
    difference: float

    def tells(self, row: Sequence[float]) -> bool:
        """Whether a case of these probabilities is no tie: only more than the tolerance could make it another class."""
        first, second = sorted(row)[:-3:-1]
        return first - second > 2 * self.tolerance


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
    `precision` is that of the weights, `float32` or `int8`. `geometry` tells how a picture of another size becomes the
    input; it is None for files of schema 2, and for those without a card. `input` is `tensor` for a graph that takes
    batches of `input_shape`, or `photo` for one that scales by the geometry itself: it takes one photo uint8
    [1, height, width, 3], RGB, of any height and width.

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
    geometry: Geometry | None = None
    input: str = "tensor"
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

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one image as the graph takes it: `image_shape`, or its channels last where `layout` is NHWC."""
        channels, height, width = self.image_shape
        return (height, width, channels) if self.layout == "NHWC" else (channels, height, width)

    @property
    def picture_geometry(self) -> Geometry:
        """The geometry that pictures get: `geometry`, or what it means that none is stated."""
        return self.geometry or UNSTATED


def _check(card: ModelCard) -> None:
    """The one list of what a card must be, for whoever writes or reads one: raise ModelError where it is not."""

    def demand(condition: bool, field: str, wanted: str) -> None:
        if not condition:
            raise ModelError(
                f"the model's card is wrong: {field} must be {wanted}, not {told(attrgetter(field)(card))}"
            )

    texts = ("model", "description", "license", "created", "run", "recipe", "data", "data_fingerprint")
    for field in texts:
        demand(is_text(getattr(card, field)), field, f"text of at most {MAX_TEXT:,} characters")
    demand(not card.created or bool(_INSTANT.fullmatch(card.created)), "created", "an instant of ISO 8601 in UTC")
    classes = len(card.names) if isinstance(card.names, tuple) else 0
    demand(2 <= classes <= MAX_CLASSES, "names", f"2 to {MAX_CLASSES:,} class names")
    if fault := names_fault(card.names):
        raise ModelError(f"the model's card is wrong: {fault}")
    demand(
        isinstance(card.image_shape, tuple)
        and len(card.image_shape) == 3
        and all(type(n) is int and n > 0 for n in card.image_shape)
        and math.prod(card.image_shape) <= MAX_PIXELS,
        "image_shape",
        f"[channels, height, width], at most {MAX_PIXELS:,} values",
    )
    channels = card.image_shape[0]
    either = (("dtype", ITEM_BYTES), ("layout", ("NCHW", "NHWC")), ("precision", MOST_TOLERANCE), ("input", INPUTS))
    for field, possible in either:
        value = getattr(card, field)
        demand(isinstance(value, str) and value in possible, field, " or ".join(possible))
    low_high = card.value_range
    demand(_is(low_high, _NUMBERS) and len(low_high) == 2 and low_high[0] < low_high[1], "value_range", "low, high")
    demand(card.dtype != "uint8" or low_high == (0, 255), "value_range", "0, 255 for uint8")
    demand(_is(card.mean, _NUMBERS) and len(card.mean) in (0, channels), "mean", "one number a channel")
    demand(
        _is(card.std, _NUMBERS) and len(card.std) == len(card.mean) and all(s > 0 for s in card.std),
        "std",
        "one positive number a channel, beside as many of mean",
    )
    demand(_is(card.temperature, float) and card.temperature > 0, "temperature", "a positive number")
    demand(card.geometry is None or type(card.geometry) is Geometry, "geometry", "a fit, a background and a filter")
    if card.input == "photo":
        demand(card.dtype == "uint8", "dtype", "uint8 where the input is a photo")
        demand(card.layout == "NHWC", "layout", "NHWC where the input is a photo")
        demand(card.geometry is not None, "geometry", "stated where the input is a photo")
        fits = channels in (1, 3) and min(card.image_shape[1:]) >= LEAST_SIDE
        demand(fits, "image_shape", f"1 or 3 channels of {LEAST_SIDE} pixels a side or more where the input is a photo")
    for field in ("parameters", "test_images"):
        demand(_is(getattr(card, field), int), field, "a whole number")
    accuracy = card.test_accuracy
    demand(accuracy is None or _is_share(accuracy), "test_accuracy", "in 0..1")
    demand(accuracy is None or card.test_images > 0, "test_images", "1 or more where there is a test_accuracy")
    demand(_fits(card.parity, Parity), "parity", "the figures of a comparison")
    if card.parity is not None:
        shares = (
            "max_difference",
            "mean_difference",
            "tolerance",
            "torch_accuracy",
            "onnx_accuracy",
            "edge_difference",
        )
        for field in shares:
            demand(_is_share(getattr(card.parity, field)), f"parity.{field}", "in 0..1")
        most = 1 if card.precision == "int8" else MOST_TOLERANCE["float32"]  # int8 is held to its verdict
        demand(card.parity.tolerance <= most, "parity.tolerance", f"at most {most:g} for {card.precision}")
        demand(card.parity.images > 0, "parity.images", "1 or more")
        demand(card.parity.differing <= card.parity.images, "parity.differing", "no more than its images")
        of_class = card.parity.class_accuracies
        demand(
            len(of_class) == classes and all(map(_is_share, of_class)),
            "parity.class_accuracies",
            f"one share in 0..1 for each of {classes:,} classes",
        )
    demand(_fits(card.int8, Int8), "int8", "the figures of a verdict")
    if card.int8 is not None:
        for field in ("float_accuracy", "int8_accuracy", "processor_difference"):
            demand(_is_share(getattr(card.int8, field)), f"int8.{field}", "in 0..1")
        for field in ("images", "size", "float_size", "batch_1_ratio", "batch_256_ratio"):
            demand(getattr(card.int8, field) > 0, f"int8.{field}", "more than 0")
        demand(card.int8.worst_class < classes, "int8.worst_class", f"one of {classes:,} classes")
        demand(-100 <= card.int8.worst_drop <= 100, "int8.worst_drop", "in -100..100 points")
        demand(card.int8.p_value is None or _is_share(card.int8.p_value), "int8.p_value", "in 0..1")
    golden = card.golden
    demand(
        golden is None
        or (
            _fits(golden, Golden)
            and 1 <= len(golden.probabilities) <= MAX_GOLDEN
            and len(golden.images) == len(golden.probabilities) * math.prod(card.image_shape) * ITEM_BYTES[card.dtype]
            and (card.dtype == "uint8" or _all_finite(golden.images))
        ),
        "golden",
        f"1 to {MAX_GOLDEN} images with a probability a class, and a tolerance",
    )
    if golden is not None:
        rows = golden.probabilities
        most = MOST_TOLERANCE[card.precision]
        demand(
            all(len(row) == classes and all(map(_is_share, row)) and abs(sum(row) - 1) <= _SLACK for row in rows),
            "golden.probabilities",
            f"a row a case of {classes:,} numbers in 0..1 that sum to 1",
        )
        demand(0 < golden.tolerance <= most, "golden.tolerance", f"above 0 and at most {most:g} for {card.precision}")
        demand(_is_share(golden.difference), "golden.difference", "in 0..1")
        demand(any(map(golden.tells, rows)), "golden.probabilities", "such that one case or more is no tie")


_NUMBERS = tuple[float, ...]
_INSTANT = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d+)?(\+00:00|Z)", re.ASCII)


def _is_share(value: object) -> bool:
    return _is(value, float) and 0 <= value <= 1  # type: ignore[operator]


def _all_finite(data: bytes) -> bool:
    import numpy as np  # whoever reads a card of floats is about to run them

    return bool(np.isfinite(np.frombuffer(data, "<f4")).all())


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
        return is_text(value)
    if kind in (bool, bytes):
        return type(value) is kind
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return isinstance(value, tuple) and len(value) <= MAX_CLASSES and all(_is(v, item) for v in value)
    return value is None or _is(value, typing.get_args(kind)[0])  # `kind` or None


def told(value: object) -> str:
    """A value as an error message shows it, in at most 60 characters."""
    plain = str | int | float | bool | None
    if isinstance(value, plain) or (
        isinstance(value, tuple) and len(value) < 5 and not any(type(v) is tuple for v in value)
    ):
        text = repr(value) if not isinstance(value, int) or -_LARGEST <= value <= _LARGEST else "a huge number"
        return text if len(text) <= 60 else text[:57] + "..."
    return f"a {type(value).__name__}"
