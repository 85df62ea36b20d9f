"""Accuracy, confusion and calibration of a model, in training and on a device.

Accumulated block by block, in constant memory.
Letters in shapes: n images of a block, K classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

BINS = 15  # as in the training report, so that the figures are comparable
MAX_CONFUSION = 1000  # classes, up to which there is a confusion matrix
MAX_TIES = 100  # near ties that are listed; all are counted


@dataclass(frozen=True)
class NearTie:
    """A prediction whose top two probabilities are close: the image, its label, and both classes."""

    image: str
    label: int
    first: int
    second: int
    first_probability: float
    second_probability: float


@dataclass(frozen=True)
class Bin:
    """One of fifteen equal bins of 0..1: the number of images in it, their mean probability, their accuracy."""

    images: int
    probability: float
    accuracy: float


@dataclass(frozen=True)
class Scores:
    """The evaluation of predictions for labelled images.

    `class_images` and `class_right` count the images of each class and those classified correctly; `confusion[i][j]`
    counts the images of class i predicted as class j, and is None for more than a thousand classes.
    `calibration_error` is the expected calibration error in 0..1 (Guo et al., 2017, https://arxiv.org/abs/1706.04599)
    over `bins`, the non-empty ones of fifteen. `near_ties` counts the predictions whose top two probabilities differ by
    less than `margin`; `ties_right` counts those whose label is the first class, `ties_second` those whose label is the
    second; `first_ties` are up to a hundred of them.
    """

    images: int
    right: int
    class_images: tuple[int, ...]
    class_right: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    calibration_error: float
    bins: tuple[Bin, ...]
    margin: float
    near_ties: int
    ties_right: int
    ties_second: int
    first_ties: tuple[NearTie, ...]

    @property
    def accuracy(self) -> float:
        """The fraction of images that are classified correctly, in [0, 1]."""
        return self.right / self.images

    @property
    def class_accuracy(self) -> tuple[float | None, ...]:
        """The recall of each class; None for a class without images."""
        return tuple(r / n if n else None for n, r in zip(self.class_images, self.class_right, strict=True))


class Tally:
    """Accumulates Scores: `add` blocks of predictions, then take `scores()`; a `margin` of 0 counts no near ties."""

    def __init__(self, classes: int, margin: float = 0.0) -> None:
        self._classes, self._margin = classes, margin
        self._counts = np.zeros((2, classes), np.int64)  # images, right
        self._confusion = np.zeros((classes, classes), np.int64) if classes <= MAX_CONFUSION else None
        self._bins = np.zeros((3, BINS))  # images, sum of probabilities, right
        self._near = np.zeros(3, np.int64)  # near ties, those where the label is the first, the second
        self._ties: list[NearTie] = []

    def add(self, probabilities: np.ndarray, labels: np.ndarray, places: Sequence[str] = ()) -> None:
        """Add probabilities float32 [n, K] of images with labels int64 [n]; `places` names the images."""
        predicted = probabilities.argmax(axis=1)
        right = predicted == labels
        self._counts[0] += np.bincount(labels, minlength=self._classes)
        self._counts[1] += np.bincount(labels[right], minlength=self._classes)
        if self._confusion is not None:
            np.add.at(self._confusion, (labels, predicted), 1)
        confidence = probabilities.max(axis=1).astype(np.float64)
        index = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        for row, weights in zip(self._bins, (np.ones(len(labels)), confidence, right), strict=True):
            row += np.bincount(index, weights, BINS)
        if self._margin:
            self._add_ties(probabilities, predicted, labels, places)

    def _add_ties(
        self, probabilities: np.ndarray, predicted: np.ndarray, labels: np.ndarray, places: Sequence[str]
    ) -> None:
        top = np.partition(probabilities, -2, axis=1)[:, -2:].astype(np.float64)
        for i in np.flatnonzero(top[:, 1] - top[:, 0] < self._margin).tolist():
            others = probabilities[i].copy()
            others[predicted[i]] = -1
            first, second, label = int(predicted[i]), int(others.argmax()), int(labels[i])
            self._near += (1, first == label, second == label)
            if len(self._ties) < MAX_TIES:
                self._ties.append(NearTie(places[i], label, first, second, float(top[i, 1]), float(top[i, 0])))

    def scores(self) -> Scores:
        """The scores so far, of one image or more."""
        counts, sums, hits = self._bins
        bins = tuple(Bin(int(n), float(p / n), float(r / n)) for n, p, r in zip(counts, sums, hits, strict=True) if n)
        images, right = (int(row.sum()) for row in self._counts)
        near, ties_right, ties_second = self._near.tolist()
        return Scores(
            images=images,
            right=right,
            class_images=tuple(self._counts[0].tolist()),
            class_right=tuple(self._counts[1].tolist()),
            confusion=None if self._confusion is None else tuple(map(tuple, self._confusion.tolist())),
            calibration_error=calibration_error(bins),
            bins=bins,
            margin=self._margin,
            near_ties=near,
            ties_right=ties_right,
            ties_second=ties_second,
            first_ties=tuple(self._ties),
        )


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Evaluate float32 [n, K] probabilities against int64 [n] labels, without near ties."""
    tally = Tally(probabilities.shape[1])
    tally.add(probabilities, labels)
    return tally.scores()


def calibration_error(bins: Iterable[Bin]) -> float:
    """The expected calibration error: |accuracy - probability|, averaged over the bins by their number of images."""
    images, apart = 0, 0.0
    for b in bins:
        images += b.images
        apart += b.images * abs(b.accuracy - b.probability)
    return apart / images
