"""Golden cases: a few test images with the file's own probabilities, for the self-test on a device.

Letters in shapes: G golden cases, N images, C channels, H height, W width, K classes.
"""

import numpy as np

from clf_export.proof.evidence import Evidence
from clf_export.proof.parity import TOLERANCE, run_onnx
from clf_runtime.model.records import Golden

CASES = 8
_MOST_BYTES = 2 << 20  # of all golden cases, so that large images or many classes do not bloat the file
_PROBABILITY_BYTES = 24  # of one as JSON text
_LEAST_MARGIN = 0.01  # between the top two probabilities, so that rounding cannot change the prediction
_PROVIDER = "CPUExecutionProvider"


def choose_cases(probabilities: np.ndarray, labels: np.ndarray, image_bytes: int) -> np.ndarray:
    """Pick the golden cases among images by their probabilities [N, K] and labels int64 [N]: rows, int64 [G].

    Up to eight, fewer where images of `image_bytes` or their probabilities are large: one class after another,
    alternating between the image nearest to the decision boundary (but no tie) and the one farthest from it.
    """
    wanted = min(CASES, _MOST_BYTES // (image_bytes + _PROBABILITY_BYTES * probabilities.shape[1]))
    margins = margins_of(probabilities)
    classes = np.unique(labels)
    chosen: list[int] = []
    for i in range(wanted):
        its_class = classes[i * len(classes) // wanted] if len(classes) >= wanted else classes[i % len(classes)]
        rows = np.flatnonzero((labels == its_class) & (margins >= _LEAST_MARGIN))
        rows = np.setdiff1d(rows, chosen)
        if len(rows):
            far = (i + i // len(classes)) % 2
            chosen.append(int(rows[margins[rows].argmax() if far else margins[rows].argmin()]))
    return np.array(chosen, np.int64)


def golden_images(evidence: Evidence) -> np.ndarray:
    """The test images that become golden cases, [G, C, H, W]."""
    rows = choose_cases(evidence.reference, evidence.labels, evidence.images[0].nbytes)
    return np.ascontiguousarray(evidence.images[rows])


def margins_of(probabilities: np.ndarray) -> np.ndarray:
    """The difference of the top two probabilities in each row of [N, K]: [N]."""
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])


def make_golden(model: bytes, images: np.ndarray, tolerance: float = TOLERANCE) -> Golden | None:
    """The golden cases of a model for images [G, C, H, W], by onnxruntime on this CPU; None without images.

    `difference` is how much the probabilities vary here: images one at a time and all in a batch, with onnxruntime's
    graph optimisations and without. Raises ModelError if the model cannot be loaded.
    """
    if not len(images):
        return None
    expected = run_onnx(model, images)
    others = (run_onnx(model, images, batch=1), run_onnx(model, images, optimised=False))
    return Golden(
        images=images.astype(images.dtype.newbyteorder("<")).tobytes(),
        probabilities=tuple(map(tuple, expected.tolist())),
        tolerance=tolerance,
        provider=_PROVIDER,
        difference=float(max(np.abs(expected - other).max() for other in others)),
    )
