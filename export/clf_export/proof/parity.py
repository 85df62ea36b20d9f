"""The comparison of an ONNX file's answers with PyTorch's.

The reference is the path that training and testing used (`clf_train.evaluation.inference`), never the wrapper that was
translated, so that one mistake in the preprocessing cannot stand on both sides.

Letters in shapes: N images, C channels, H height, W width, K classes.
"""

import contextlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from clf_export.errors import ParityError
from clf_runtime.datasets.labelled import TEST_BATCH
from clf_runtime.engine.engine import open_engine
from clf_runtime.errors import ModelError, brief

TOLERANCE = 1e-4  # of a probability
MOST_BYTES = 16 << 20  # of images as float32 that are answered together: what a net makes of them is ten times as large
_FEW = 10  # differing predictions that are listed
_NOT_RUN = "onnxruntime does not run the model, so no file is written"
_LACKING = re.compile(r"Could not find an implementation for (\w+)\(")
_UNUSUAL = {
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}


@dataclass(frozen=True)
class Differing:
    """A prediction that differs: the image's index, both classes, and how far apart they lie in the reference."""

    image: int
    torch_class: int
    onnx_class: int
    margin: float


@dataclass(frozen=True)
class Comparison:
    """Two sets of answers to the same images, set against each other.

    `max_difference` and `mean_difference` are absolute differences of probabilities; `differing` counts the images
    whose likeliest class differs, `untied` those of them whose two classes lie further apart than the tolerance in the
    reference; `first_differing` are up to ten of them. Accuracies are shares in [0, 1], over all and for each class (0
    for a class without an image).
    """

    images: int
    max_difference: float
    mean_difference: float
    differing: int
    untied: int
    torch_accuracy: float
    onnx_accuracy: float
    torch_class_accuracies: tuple[float, ...]
    onnx_class_accuracies: tuple[float, ...]
    first_differing: tuple[Differing, ...] = ()
    tolerance: float = TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether the answers agree: no difference above the tolerance, no class that differs but in a tie."""
        return self.max_difference <= self.tolerance and self.untied == 0

    def problem(self) -> str:
        """What is wrong, in words, if it did not pass."""
        return (
            f"the largest difference of a probability is {self.max_difference:.2e} (at most {self.tolerance:g} is "
            f"allowed), and {self.untied:,} of {self.images:,} predictions differ without being a tie"
        )


def at_once(shape: tuple[int, ...], most: int = TEST_BATCH) -> int:
    """How many images of a shape [C, H, W] are answered together: `most`, or fewer that are large."""
    return max(1, min(most, MOST_BYTES // (4 * math.prod(shape))))


def run_onnx(model: bytes, images: np.ndarray, *, batch: int | None = None, optimised: bool = True) -> np.ndarray:
    """Answer images [N, C, H, W], `batch` or `at_once` at a time, with onnxruntime on the CPU: float32 [N, K].

    Not `optimised`, the graph runs as it stands. Raises ModelError if the model cannot be opened or does not answer.
    """
    engine = open_engine(model, "the exported model", device="cpu", optimised=optimised)
    answers: np.ndarray | None = None
    batch = batch or at_once(images.shape[1:])
    for i in range(0, len(images), batch):
        block = engine.run(np.ascontiguousarray(images[i : i + batch]))
        if answers is None:  # keeping the small answers apart pins the heap between large blocks
            answers = np.empty((len(images), *block.shape[1:]), block.dtype)
        answers[i : i + batch] = block
    assert answers is not None
    return answers


def open_onnx(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """What answers a batch of images [B, C, H, W], all of it at once, with the output of a model on the CPU [B, K].

    Raises ParityError if onnxruntime does not run the model, then or with a batch.
    """
    try:
        engine = open_engine(model, "the exported model", device="cpu")
    except ModelError as error:
        raise ParityError(f"{_NOT_RUN}: {_why(model, error)}") from None

    def answer(images: np.ndarray) -> np.ndarray:
        try:
            return engine.run(np.ascontiguousarray(images))
        except ModelError as error:
            raise ParityError(f"{_NOT_RUN}: a batch of {len(images)}: {error}") from None

    return answer


def _why(model: bytes, error: ModelError) -> str:
    """Why onnxruntime cannot open a model, in one line: an operator that it has not for a type of numbers, by name."""
    lacking = _LACKING.search(str(error))
    if lacking is None:
        return brief(error)
    proto = onnx.ModelProto.FromString(model)
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        proto = onnx.shape_inference.infer_shapes(proto)
    graph = proto.graph
    types = {t.name: t.data_type for t in graph.initializer}
    types |= {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    used = {types.get(i, 0) for node in graph.node if node.op_type == lacking[1] for i in node.input}
    unusual = " or ".join(name for number, name in _UNUSUAL.items() if number in used)
    return f"it has no {lacking[1]}" + (f" of {unusual}: forward() must compute in float32" if unusual else "")


def compare(reference: np.ndarray, answers: np.ndarray, labels: np.ndarray) -> Comparison:
    """Set answers against reference probabilities, both float32 [N, K], with int64 [N] labels for the accuracies.

    An answer that is NaN, or of another shape, differs by infinity.
    """
    images, classes = reference.shape
    ours = reference.argmax(axis=1)
    by_class = _class_accuracies(ours, labels, classes)
    accuracy = float((ours == labels).mean())
    if answers.shape != reference.shape or not np.isfinite(answers).all():
        nothing = (0.0,) * classes
        return Comparison(images, np.inf, np.inf, images, images, accuracy, 0.0, by_class, nothing)
    difference = np.abs(reference.astype(np.float64) - answers)
    theirs = answers.argmax(axis=1)
    rows = np.flatnonzero(ours != theirs)
    margins = reference[rows, ours[rows]] - reference[rows, theirs[rows]]
    widest = np.argsort(-margins, kind="stable")[:_FEW]
    return Comparison(
        images=images,
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        differing=len(rows),
        untied=int((margins > TOLERANCE).sum()),
        torch_accuracy=accuracy,
        onnx_accuracy=float((theirs == labels).mean()),
        torch_class_accuracies=by_class,
        onnx_class_accuracies=_class_accuracies(theirs, labels, classes),
        first_differing=tuple(
            Differing(int(rows[i]), int(ours[rows[i]]), int(theirs[rows[i]]), float(margins[i])) for i in widest
        ),
    )


def _class_accuracies(predictions: np.ndarray, labels: np.ndarray, classes: int) -> tuple[float, ...]:
    hits = np.bincount(labels[predictions == labels], minlength=classes)
    return tuple((hits / np.maximum(1, np.bincount(labels, minlength=classes))).tolist())
