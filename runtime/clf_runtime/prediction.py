"""Prediction: what a model says of one image; made of probabilities, one image or a batch at a time."""

from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np

UNKNOWN = "unknown"  # the name of what is rejected


class Prediction(NamedTuple):
    """What a model says of one image.

    `probability` is that of the class `index`, called `name`; `distribution` holds the probabilities of all classes,
    float32 [classes], if it was asked for. `model_sha256` is the hash of the very file that answered, `provider` the
    onnxruntime execution provider that ran it. An image that was rejected, since its probability is below the one that
    was asked for, has no index and the name UNKNOWN; the probability is still that of its likeliest class.

    It is a tuple since a batch makes hundreds, and a frozen dataclass takes three times as long to make. Two are equal
    if all but their distributions are.
    """

    index: int | None  # type: ignore[assignment]  # a tuple's own index() is not needed
    name: str
    probability: float
    model_sha256: str
    provider: str
    distribution: np.ndarray | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prediction) and self[:-1] == other[:-1]

    def __hash__(self) -> int:
        return hash(self[:-1])


def to_predictions(
    probabilities: np.ndarray,
    names: Sequence[str],
    model_sha256: str,
    provider: str,
    *,
    distribution: bool = False,
    reject_below: float = 0.0,
) -> list[Prediction]:
    """The predictions of probabilities float32 [batch, classes], one a row.

    With `distribution` each holds its row; a probability below `reject_below`, in 0..1, is rejected. Raises ValueError
    if that is no probability.
    """
    check_probability(reject_below)
    best = probabilities.argmax(axis=1)
    likeliest = probabilities.take(best + np.arange(0, probabilities.size, probabilities.shape[1]))
    indices: list[int | None] = best.tolist()
    chosen: list[str] = np.array(names, dtype=object)[best].tolist()
    if reject_below:
        for i in np.flatnonzero(likeliest < reject_below).tolist():
            indices[i], chosen[i] = None, UNKNOWN
    wholes = list(probabilities.copy()) if distribution else repeat(None)
    rows = zip(indices, chosen, likeliest.tolist(), repeat(model_sha256), repeat(provider), wholes, strict=False)
    # No step of this is Python's own: a batch of a small model shows a third of a microsecond an image.
    return list(map(tuple.__new__, repeat(Prediction), rows))


def check_probability(reject_below: float) -> None:
    """Raise ValueError unless a number is a probability, in 0..1."""
    if not 0 <= reject_below <= 1:
        raise ValueError(f"reject_below must be a probability in 0..1, not {reject_below}")
