"""ModelCard: the description inside a model file; metadata.py writes and reads it."""

import math
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from clf_runtime.errors import ModelError
from clf_runtime.model.geometry import UNSTATED, Geometry
from clf_runtime.model.names import MAX_TEXT, is_text, names_fault
from clf_runtime.model.reference import Reference, reference_fault

MAX_CLASSES = 100_000
MAX_PIXELS = 1 << 24  # channels x height x width of one image
MAX_GOLDEN = 64
MAX_PICTURE_BYTES = 1 << 20  # of the golden picture
# The largest tolerance of a probability that a card may state, by the precision of the weights. Float results differ by
# some 1e-6 between processors; int8's are rounded to 256 steps. A file that differs by more should not be used.
MOST_TOLERANCE = {"float32": 0.01, "int8": 0.1}
ITEM_BYTES = {"uint8": 1, "float32": 4}
_SLACK = 1e-3  # of a sum of probabilities
_LARGEST = 1e300  # of a number; excludes NaN too


@dataclass(frozen=True)
class Parity:
    """How the file's outputs compared with PyTorch's at export.

    Over `images` test images, `max_difference` and `mean_difference` are absolute differences of probabilities,
    `differing` counts the images whose predicted class differs (all of them ties within `tolerance`), accuracies are
    fractions in [0, 1], and `class_accuracies` is onnxruntime's recall of each class (0 for a class without images).
    On `edge_images` synthetic images (black, white, one hot pixel, noise) in batches of several sizes, probabilities
    differed by at most `edge_difference`.
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
    """Golden cases: test images and the file's own probabilities for them, for the self-test on a device.

    `images` are the bytes of [cases, *image_shape] in the card's dtype and layout, in C order, little-endian;
    `probabilities` has one row per case. A device passes if the predicted class of each case is the same, and no
    probability differs by more than `tolerance`; on `provider`, the only one measured, the probabilities varied by
    `difference` on the exporting machine.
    """

    images: bytes
    probabilities: tuple[tuple[float, ...], ...]
    tolerance: float
    provider: str
    difference: float

    def tells(self, row: Sequence[float]) -> bool:
        """Whether a case with these probabilities is no tie: a change within the tolerance cannot change its class."""
        first, second = sorted(row)[:-3:-1]
        return first - second > 2 * self.tolerance


@dataclass(frozen=True)
class GoldenPicture:
    """A picture of another size and shape than the input, by which a device proves decoding and geometry too.

    `data` are the bytes of a PNG, `input_sha256` is of the input that it becomes (uint8 [channels, height, width], in C
    order), and `probabilities` are the file's answer, held to the tolerance of the golden cases.
    """

    data: bytes
    input_sha256: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Int8:
    """The comparison of int8 with float32 for this net, measured at export on held-out training images.

    Accuracies are fractions in [0, 1]; `worst_drop` is the drop of the recall of class `worst_class`, in percentage
    points. `p_value` is that of McNemar's test. `processor_difference` is the largest difference of a probability from
    ONNX's reference evaluator. Sizes are in bytes; the ratios are int8's images/s relative to float32's for batches of
    1 and 256. `recommended` says whether to use the int8 file, `reason` why, in a sentence.
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
    """A model's inputs and outputs, its origin, and its accuracy.

    `image_shape` is (channels, height, width); images are NCHW with channels in RGB order. `dtype` is `uint8` or
    `float32`, `value_range` the lowest and highest valid value of an image. `mean` and `std` (one per channel, in the
    units of the image) and `temperature` are already in the graph, and here for information only. `precision` is that
    of the weights, `float32` or `int8`. `geometry` says how a picture of another size is resized to the input; it is
    None for files of schema 2, and for those without a card. `input` is `tensor`, a batch of such images, or `photo`:
    the geometry is in the graph too, which takes one picture uint8 [1, height, width, 3] of any size.

    Raises ModelError, naming the field, for an invalid value.
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
    pretrained: str = ""  # source and licence of the weights that its training began with, if it began with any
    parameters: int = 0
    test_images: int = 0
    test_accuracy: float | None = None  # a fraction in [0, 1], PyTorch's at the end of the training
    fold_count: int = 0  # of its training in folds, 0 if there were none
    fold_images: int = 0
    fold_accuracy: float | None = None  # a fraction in [0, 1], of nets that had not seen the images
    parity: Parity | None = None
    int8: Int8 | None = None
    golden: Golden | None = None
    golden_picture: GoldenPicture | None = None
    reference: Reference | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def parity_is_of_training(self) -> bool:
        """Whether the images of `parity` are those that the net was trained on: folds stand in for a test part."""
        found = self.parity
        return bool(self.fold_count and not self.test_images and found) and (
            found.data_fingerprint == self.data_fingerprint  # type: ignore[union-attr]
        )

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
    """All constraints on a card, checked when it is written and read. Raises ModelError."""

    def demand(condition: bool, field: str, wanted: str) -> None:
        if not condition:
            raise ModelError(
                f"the model's card is invalid: {field} must be {wanted}, not {told(attrgetter(field)(card))}"
            )

    texts = ("model", "description", "license", "created", "run", "recipe", "data", "data_fingerprint", "pretrained")
    for field in texts:
        demand(is_text(getattr(card, field)), field, f"text of at most {MAX_TEXT:,} characters")
    demand(not card.created or bool(_INSTANT.fullmatch(card.created)), "created", "a UTC time in ISO 8601")
    classes = len(card.names) if isinstance(card.names, tuple) else 0
    demand(2 <= classes <= MAX_CLASSES, "names", f"2 to {MAX_CLASSES:,} class names")
    if fault := names_fault(card.names):
        raise ModelError(f"the model's card is invalid: {fault}")
    demand(
        isinstance(card.image_shape, tuple)
        and len(card.image_shape) == 3
        and all(type(n) is int and n > 0 for n in card.image_shape)
        and math.prod(card.image_shape) <= MAX_PIXELS,
        "image_shape",
        f"[channels, height, width], at most {MAX_PIXELS:,} values",
    )
    channels = card.image_shape[0]
    for field, possible in (("dtype", ITEM_BYTES), ("layout", ("NCHW", "NHWC")), ("precision", MOST_TOLERANCE)):
        value = getattr(card, field)
        demand(isinstance(value, str) and value in possible, field, " or ".join(possible))
    low_high = card.value_range
    demand(_is(low_high, _NUMBERS) and len(low_high) == 2 and low_high[0] < low_high[1], "value_range", "low, high")
    demand(card.dtype != "uint8" or low_high == (0, 255), "value_range", "0, 255 for uint8")
    demand(_is(card.mean, _NUMBERS) and len(card.mean) in (0, channels), "mean", "one number per channel")
    demand(
        _is(card.std, _NUMBERS) and len(card.std) == len(card.mean) and all(s > 0 for s in card.std),
        "std",
        "one positive number per channel, as many as mean",
    )
    demand(_is(card.temperature, float) and card.temperature > 0, "temperature", "a positive number")
    demand(card.input in ("tensor", "photo"), "input", "tensor or photo")
    if card.input == "photo":
        is_photo = card.geometry is not None and (card.dtype, card.layout, channels) == ("uint8", "NHWC", 3)
        demand(is_photo, "input", "tensor where the images are not uint8, NHWC, of 3 channels, with a geometry")
    demand(card.geometry is None or type(card.geometry) is Geometry, "geometry", "a fit, a background and a filter")
    for field in ("parameters", "test_images", "fold_count", "fold_images"):
        demand(_is(getattr(card, field), int), field, "an integer")
    accuracy = card.test_accuracy
    demand(accuracy is None or _is_share(accuracy), "test_accuracy", "in 0..1")
    demand(accuracy is None or card.test_images > 0, "test_images", "1 or more where there is a test_accuracy")
    accuracy = card.fold_accuracy
    demand(accuracy is None or _is_share(accuracy), "fold_accuracy", "in 0..1")
    folded = (accuracy is not None, card.fold_count > 0, card.fold_images > 0)
    demand(all(folded) or not any(folded), "fold_count", "there with fold_images and fold_accuracy, or none of them")
    demand(_fits(card.parity, Parity), "parity", "the record of a comparison")
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
        most = 1 if card.precision == "int8" else MOST_TOLERANCE["float32"]  # int8 is judged by its accuracy
        demand(card.parity.tolerance <= most, "parity.tolerance", f"at most {most:g} for {card.precision}")
        demand(card.parity.images > 0, "parity.images", "1 or more")
        demand(card.parity.differing <= card.parity.images, "parity.differing", "no more than its images")
        of_class = card.parity.class_accuracies
        demand(
            len(of_class) == classes and all(map(_is_share, of_class)),
            "parity.class_accuracies",
            f"one fraction in 0..1 for each of {classes:,} classes",
        )
    demand(_fits(card.int8, Int8), "int8", "the record of a verdict")
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
        f"1 to {MAX_GOLDEN} images with one probability per class, and a tolerance",
    )
    if golden is not None:
        rows = golden.probabilities
        most = MOST_TOLERANCE[card.precision]
        demand(
            all(len(row) == classes and all(map(_is_share, row)) and abs(sum(row) - 1) <= _SLACK for row in rows),
            "golden.probabilities",
            f"one row per case of {classes:,} numbers in 0..1 that sum to 1",
        )
        demand(0 < golden.tolerance <= most, "golden.tolerance", f"above 0 and at most {most:g} for {card.precision}")
        demand(_is_share(golden.difference), "golden.difference", "in 0..1")
        demand(any(map(golden.tells, rows)), "golden.probabilities", "such that at least one case is no tie")

    picture = card.golden_picture
    demand(
        picture is None
        or (
            _fits(picture, GoldenPicture)
            and golden is not None
            and len(picture.data) <= MAX_PICTURE_BYTES
            and len(picture.input_sha256) == 64
            and len(picture.probabilities) == classes
            and all(map(_is_share, picture.probabilities))
            and abs(sum(picture.probabilities) - 1) <= _SLACK
        ),
        "golden_picture",
        "a PNG with the SHA-256 of its input and a probability per class, beside golden cases",
    )
    demand(_fits(card.reference, Reference), "reference", "the answers for held-out images")
    if card.reference is not None:
        fault = reference_fault(card.reference, classes)
        demand(fault is None, "reference", fault or "")


_NUMBERS = tuple[float, ...]
_INSTANT = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d+)?(\+00:00|Z)", re.ASCII)


def _is_share(value: object) -> bool:
    return _is(value, float) and 0 <= value <= 1  # type: ignore[operator]


def _all_finite(data: bytes) -> bool:
    import numpy as np  # imported soon anyway, to run the model

    return bool(np.isfinite(np.frombuffer(data, "<f4")).all())


def _fits(record: object, kind: type) -> bool:
    """Whether a record is None, or of this dataclass with every field of its declared type."""
    if record is None or type(record) is not kind:
        return record is None
    hints = typing.get_type_hints(kind)
    return all(_is(getattr(record, field.name), hints[field.name]) for field in fields(kind))  # type: ignore[arg-type]


def _is(value: object, kind: object) -> bool:
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
        return isinstance(value, tuple) and len(value) <= MAX_CLASSES and all(_is(v, item) for v in value)
    return value is None or _is(value, typing.get_args(kind)[0])  # `kind` or None


def told(value: object) -> str:
    """A value for an error message, in at most 60 characters."""
    plain = str | int | float | bool | None
    if isinstance(value, plain) or (
        isinstance(value, tuple) and len(value) < 5 and not any(type(v) is tuple for v in value)
    ):
        text = repr(value) if not isinstance(value, int) or -_LARGEST <= value <= _LARGEST else "a huge number"
        return text if len(text) <= 60 else text[:57] + "..."
    return f"a {type(value).__name__}"
