"""A model's test: accuracy, cross-entropy, confusion matrix, and misclassified images.

Letters in shapes: N images, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clf_runtime.evaluation.scores import score

_FIRST = 10


@dataclass(frozen=True)
class LabelledPrediction:
    """One test image: its index in the test part, its label, the predicted class, and that class's probability."""

    index: int
    label: int
    predicted: int
    probability: float


@dataclass(frozen=True)
class TestMetrics:
    """A model's test: fractions in [0, 1], the mean cross-entropy in nats, and the confusion matrix as counts.

    `confusion[i][j]` counts the images of class i predicted as class j, and is None for more than a thousand classes;
    `class_accuracy` is the recall of each class, None for a class without test images; `first` holds the first ten
    predictions.
    """

    images: int
    accuracy: float
    loss: float
    class_accuracy: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    first: tuple[LabelledPrediction, ...]


def measure(probabilities: np.ndarray, labels: np.ndarray) -> TestMetrics:
    """Evaluate float32 [N, K] probabilities against int64 [N] labels."""
    scores, n = score(probabilities, labels), len(labels)
    predicted = probabilities.argmax(axis=1)
    of_label = probabilities[np.arange(n), labels].astype(np.float64)
    return TestMetrics(
        images=n,
        accuracy=scores.accuracy,
        loss=float(-np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean()),
        class_accuracy=scores.class_accuracy,
        confusion=scores.confusion,
        first=tuple(
            LabelledPrediction(i, int(labels[i]), int(predicted[i]), float(probabilities[i, predicted[i]]))
            for i in range(min(_FIRST, n))
        ),
    )


@dataclass(frozen=True)
class ConfusedPair:
    """The number of images of class `label` that were predicted as class `predicted`."""

    label: str
    predicted: str
    count: int

    def __str__(self) -> str:
        return f"{self.label} predicted as {self.predicted}, {self.count:,}"


def most_confused(metrics: TestMetrics, names: Sequence[str], most: int = 10) -> list[ConfusedPair]:
    """The pairs of classes that are confused most often, most frequent first, without pairs that never occur.

    Empty if there is no confusion matrix.
    """
    pairs = [
        ConfusedPair(names[i], names[j], count)
        for i, row in enumerate(metrics.confusion or ())
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(pairs, key=lambda pair: -pair.count)[:most]


@dataclass(frozen=True)
class Mistakes:
    """The `count` test images of class `label` that were predicted as class `predicted`, with some as examples."""

    label: int
    predicted: int
    count: int
    examples: tuple[LabelledPrediction, ...]


def confused_examples(
    probabilities: np.ndarray, labels: np.ndarray, most_pairs: int = 6, most_examples: int = 8
) -> list[Mistakes]:
    """The pairs of classes that are confused most often, in the order of `most_confused`, with images of each.

    From float32 [N, K] probabilities and int64 [N] labels. The examples of a pair are its most confident errors, those
    with the highest probability of the wrong class first. Empty if there are no errors.
    """
    predicted = probabilities.argmax(axis=1)
    given = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True)
    mistakes = []
    for i in np.argsort(-counts, kind="stable")[:most_pairs]:
        label, taken_for = (int(c) for c in pairs[i])
        rows = wrong[(labels[wrong] == label) & (predicted[wrong] == taken_for)]
        surest = rows[np.argsort(-given[rows], kind="stable")][:most_examples]
        examples = tuple(LabelledPrediction(int(row), label, taken_for, float(given[row])) for row in surest)
        mistakes.append(Mistakes(label, taken_for, int(counts[i]), examples))
    return mistakes
