"""The records on a model's card, and the limits of what it holds."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_CLASSES = 100_000
MAX_PIXELS = 1 << 24  # channels x height x width of one image
MAX_GOLDEN = 64
MAX_PICTURE_BYTES = 1 << 20  # of the golden picture
# The largest tolerance of a probability that a card may state, by the precision of the weights. Float results differ by
# some 1e-6 between processors; int8's are rounded to 256 steps. A file that differs by more should not be used.
MOST_TOLERANCE = {"float32": 0.01, "int8": 0.1}
ITEM_BYTES = {"uint8": 1, "float32": 4}
INPUTS = ("tensor", "photo")
LEAST_SIDE = 4  # of a model that takes photos: with 3, an array [h, w, 3] could also be [channels, height, width]


@dataclass(frozen=True)
class Parity:
    """How the file's outputs compared with PyTorch's at export, or those of the original of an adopted file.

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

    `data` are the bytes of a PNG, `input_sha256` is of the input that it becomes (uint8 [channels, height, width], or
    [height, width, 3] of its own size for a graph that takes photos, in C order), and `probabilities` are the file's
    answer, held to the tolerance of the golden cases.
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
