"""The reference of a model: fitted by the export from its answers for held-out images."""

import numpy as np

from clf_runtime.model.reference import BINS, MOST_CLASSES, Reference

LEAST_IMAGES = 100
_SURE = 0.9999  # values above are one: in float32 they are few, and rounding moves them from processor to processor


def fit_reference(probabilities: np.ndarray, familiarity: np.ndarray | None = None) -> Reference | None:
    """The reference of a model that answered images it was not trained on with these probabilities, float32 [N, K].

    With `familiarity`, float32 [N], that is what is counted; without, the probability of the predicted class. None for
    fewer than a hundred images.
    """
    if len(probabilities) < LEAST_IMAGES:
        return None
    values = (probabilities.max(axis=1) if familiarity is None else familiarity).astype(np.float64)
    edges = np.quantile(values, np.arange(1, BINS) / BINS).clip(0, _SURE).round(6)
    bins = np.searchsorted(edges, values, side="right")
    classes = probabilities.shape[1]
    rows = classes if classes <= MOST_CLASSES else 1
    row = probabilities.argmax(axis=1) if rows > 1 else 0
    counts = np.bincount(row * BINS + bins, minlength=rows * BINS).reshape(rows, BINS)
    return Reference(
        value="probability" if familiarity is None else "familiarity",
        edges=tuple(edges.tolist()),
        counts=tuple(map(tuple, counts.tolist())),
        mean=round(float(values.mean()), 6),
    )
