"""The comparison of an ONNX file's outputs with PyTorch's.

The reference is the code path of training and testing (`clf_train.evaluation.inference`), not the wrapper module that
was translated, so that a mistake in the preprocessing cannot be on both sides.

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
_NOT_RUN = "onnxruntime cannot run the model, so no file is written"
_LACKING = re.compile(r"Could not find an implementation for (\w+)\(")
_UNUSUAL = {
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}


@dataclass(frozen=True)
class Differing:
    """A prediction that differs: the image's index, both classes, and their difference in reference probability."""

    image: int
    torch_class: int
    onnx_class: int
    margin: float


@dataclass(frozen=True)
class Comparison:
    """Two sets of probabilities for the same images, compared.

    `max_difference` and `mean_difference` are absolute differences of probabilities; `differing` counts the images
    whose predicted class differs, `untied` those among them that are no near tie: the reference probabilities of the
    two classes differ by more than the tolerance; `first_differing` are up to ten of them, widest margin first.
    Accuracies are fractions in [0, 1], overall and per class (recall; 0 for a class without images).
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
        """Whether the two agree: no difference above the tolerance, and no prediction differs except in near ties."""
        return self.max_difference <= self.tolerance and self.untied == 0

    def problem(self) -> str:
        """Why it did not pass, in words."""
        return (
            f"probabilities differ by up to {self.max_difference:.2e} (tolerance {self.tolerance:g}), and "
            f"{self.untied:,} of {self.images:,} predictions differ, near ties not counted"
        )


def at_once(shape: tuple[int, ...], most: int = TEST_BATCH) -> int:
    """The number of images [C, H, W] that are run as one batch: `most`, or fewer if they are large."""
    return max(1, min(most, MOST_BYTES // (4 * math.prod(shape))))


def run_onnx(model: bytes, images: np.ndarray, *, batch: int | None = None, optimised: bool = True) -> np.ndarray:
    """Run images [N, C, H, W], `batch` or `at_once` at a time, with onnxruntime on the CPU: float32 [N, K].

    Without `optimised`, graph optimisations are off. Raises ModelError if the model cannot be loaded or run.
    """
    engine = open_engine(model, "the exported model", device="cpu", optimised=optimised)
    answers: np.ndarray | None = None
    batch = batch or at_once(images.shape[1:])
    for i in range(0, len(images), batch):
        block = engine.run(np.ascontiguousarray(images[i : i + batch]))
        if answers is None:  # one array: small arrays between large blocks would fragment the heap
            answers = np.empty((len(images), *block.shape[1:]), block.dtype)
        answers[i : i + batch] = block
    assert answers is not None
    return answers


def open_onnx(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs a batch [B, C, H, W] through a model in one call, on the CPU: [B, K].

    Raises ParityError, as does the function, if onnxruntime cannot run the model.
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
    """Why onnxruntime cannot load a model, in one line: where it lacks a kernel, for which operator and dtype."""
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
    return f"it has no {lacking[1]} kernel" + (f" for {unusual}; forward() must compute in float32" if unusual else "")


def compare(reference: np.ndarray, answers: np.ndarray, labels: np.ndarray) -> Comparison:
    """Compare probabilities with the reference, both float32 [N, K]; labels, int64 [N], give the accuracies.

    NaN, infinities and another shape count as an infinite difference.
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
