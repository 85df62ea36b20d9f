"""The scores of a frozen net's training images, each by a head and a metric that had not seen it: see neighbours.

Letters in shapes: N images, C channels, F features of the head, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx
from scipy.special import logsumexp

from clf_export.familiarity.features import with_pooled_maximum
from clf_export.familiarity.images import FrozenImages
from clf_export.familiarity.metric import Metric, fit_metric
from clf_export.familiarity.outputs import named_outputs
from clf_train.loop.head import FOLDS, PENALTIES, folds, rotate, solve


@dataclass(frozen=True)
class Fold:
    """The head, `weight` [K, F] and `bias` [K], and the metric that were fitted to the images of the other folds.

    They have not seen the `others`, bool [N].
    """

    others: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    metric: Metric


@dataclass(frozen=True)
class Scores:
    """The score of each image, [N], by its fold: the energy and the distance by these weights."""

    known: np.ndarray
    of_folds: tuple[Fold, ...]
    by_energy: float
    by_distance: float

    def by_fold(self, number: int, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """The scores of images of directions [N, C] and features [N, F] by one of the folds: [N]."""
        fold = self.of_folds[number]
        energy = logsumexp(h @ fold.weight.T + fold.bias, axis=1)
        return np.asarray(self.by_energy * energy + self.by_distance * fold.metric.nearest(x))


@dataclass(frozen=True)
class Featured:
    """A graph with the names of three tensors of it, and the first two of the training images: see with_pooled_maximum.

    These are directions `x`, float64 [N, C], and what the head is given, `h` [N, F].
    """

    model: onnx.ModelProto
    direction: str
    given: str
    logits: str
    x: np.ndarray
    h: np.ndarray

    def of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directions and features of other images."""
        return _features(self.model, self.direction, self.given, images)


@lru_cache(maxsize=1)  # an export asks three times, and it takes as long as all that it does with it
def featured(model: bytes, images: FrozenImages) -> Featured:
    """The features of the training images. Raises FamiliarityError if the net has no map before its last layer."""
    made, direction, given, logits = with_pooled_maximum(onnx.ModelProto.FromString(model))
    return Featured(made, direction, given, logits, *_features(made, direction, given, images.known))


@dataclass(frozen=True)
class Head:
    """How a head is fitted: the labels int64 [N] of so many classes, what each image counts, and the fold it is in."""

    labels: np.ndarray
    classes: int
    counts: np.ndarray | None
    fold: np.ndarray


def head_of(images: FrozenImages) -> Head:
    """How the run's own head was fitted."""
    return Head(images.labels, images.classes, images.counts, folds(images.labels, FOLDS, images.seed))


def score_in_folds(x: np.ndarray, h: np.ndarray, head: Head, images: FrozenImages) -> Scores:
    """Score images of directions [N, C] and features [N, F], each by what was fitted without its fold."""
    of_folds = tuple(_fit_folds(x, h, head, images.penalty, images.temperature))
    energy, distance = (np.empty(len(x)) for _ in range(2))
    for fold in of_folds:
        energy[fold.others] = logsumexp(h[fold.others] @ fold.weight.T + fold.bias, axis=1)
        distance[fold.others] = fold.metric.nearest(x[fold.others])
    by_energy, by_distance = 1 / max(energy.std(), 1e-12), -1 / max(distance.std(), 1e-12)
    return Scores(by_energy * energy + by_distance * distance, of_folds, by_energy, by_distance)


def _fit_folds(x: np.ndarray, h: np.ndarray, head: Head, least: float, temperature: float) -> Iterator[Fold]:
    penalties: Sequence[float] = [penalty for penalty in PENALTIES if penalty >= least * 0.999]
    for i in range(FOLDS):
        rest = head.fold != i
        turned, rotation, centre = rotate(h, rest)
        counts = None if head.counts is None else head.counts[rest]
        *_, (weight, bias) = solve(turned[rest], head.labels[rest], head.classes, penalties, counts)
        weight = weight @ rotation.T
        metric = fit_metric(x[rest], head.labels[rest])
        yield Fold(~rest, weight / temperature, (bias - weight @ centre) / temperature, metric)


def _features(model: onnx.ModelProto, direction: str, given: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, h = named_outputs(model, (direction, given), images)
    return x.astype(np.float64), h.astype(np.float64)
