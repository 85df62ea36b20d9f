"""The proof that an ONNX file answers as PyTorch did.

The reference is the path that training and testing used (`clf_train.evaluate`), never the wrapper that was translated,
so that one mistake in the preprocessing cannot stand on both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clf_runtime.card import Parity
from clf_runtime.session import import_onnxruntime, open_session

TOLERANCE = 1e-4  # of a probability
_BLOCK = 500


@dataclass(frozen=True)
class Comparison:
    """Two sets of answers to the same images, set against each other.

    `max_difference` and `mean_difference` are absolute differences of probabilities; `differing` counts the images
    whose likeliest class differs, `untied` those of them whose two classes lie further apart than the tolerance in the
    reference. Accuracies are shares in [0, 1].
    """

    images: int
    max_difference: float
    mean_difference: float
    differing: int
    untied: int
    torch_accuracy: float
    onnx_accuracy: float
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


def run_onnx(model: bytes, images: np.ndarray, *, batch: int = _BLOCK) -> np.ndarray:
    """Answer images [N, C, H, W], `batch` at a time, with onnxruntime on the CPU: float32 [N, K].

    Raises ModelError if the model does not run.
    """
    session = open_session(model, "the exported model", device="cpu").ort
    name = session.get_inputs()[0].name
    blocks = [
        session.run(None, {name: np.ascontiguousarray(images[i : i + batch])})[0] for i in range(0, len(images), batch)
    ]
    answers: np.ndarray = np.concatenate(blocks)
    return answers


def compare(reference: np.ndarray, answers: np.ndarray, labels: np.ndarray) -> Comparison:
    """Set answers against reference probabilities, both float32 [N, K], with int64 [N] labels for the accuracies.

    An answer that is NaN, or of another shape, differs by infinity.
    """
    images = len(reference)
    if answers.shape != reference.shape or not np.isfinite(answers).all():
        accuracy = float((reference.argmax(1) == labels).mean())
        return Comparison(images, float("inf"), float("inf"), images, images, accuracy, 0.0)
    difference = np.abs(reference.astype(np.float64) - answers)
    ours, theirs = reference.argmax(axis=1), answers.argmax(axis=1)
    rows = np.flatnonzero(ours != theirs)
    margins = reference[rows, ours[rows]] - reference[rows, theirs[rows]]
    return Comparison(
        images=images,
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        differing=len(rows),
        untied=int((margins > TOLERANCE).sum()),
        torch_accuracy=float((ours == labels).mean()),
        onnx_accuracy=float((theirs == labels).mean()),
    )


def for_card(comparison: Comparison, data_fingerprint: str) -> Parity:
    """The figures that the model's card carries."""
    return Parity(
        images=comparison.images,
        max_difference=comparison.max_difference,
        tolerance=comparison.tolerance,
        differing=comparison.differing,
        torch_accuracy=comparison.torch_accuracy,
        onnx_accuracy=comparison.onnx_accuracy,
        data_fingerprint=data_fingerprint,
        onnxruntime=str(import_onnxruntime().__version__),
    )


def text_lines(comparison: Comparison) -> Sequence[str]:
    """The figures for people."""
    return (
        f"test images                      {comparison.images:,}",
        f"largest difference, probability  {comparison.max_difference:.2e}  (at most {comparison.tolerance:g})",
        f"mean difference, probability     {comparison.mean_difference:.2e}",
        f"predictions that differ          {comparison.differing:,}",
        f"accuracy of PyTorch              {100 * comparison.torch_accuracy:.2f} %",
        f"accuracy of onnxruntime          {100 * comparison.onnx_accuracy:.2f} %",
    )
