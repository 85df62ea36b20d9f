"""The scores of a frozen net's training images, each by a head and a metric that had not seen it: see neighbours.

Letters in shapes: N images, C channels, F features of the head, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import onnx
from scipy.special import logsumexp

from clf_export.familiarity.features import with_pooled_maximum
from clf_export.familiarity.images import FrozenImages
from clf_export.familiarity.likeness import Likeness, fit_likeness
from clf_export.familiarity.metric import Metric, fit_metric
from clf_export.familiarity.outputs import named_outputs
from clf_train.loop.head import FOLDS, PENALTIES, folds, rotate, solve

_LIKELIEST = 0.05  # the share of the training images whose likeness to the examples counts


@dataclass(frozen=True)
class Fold:
    """The head, `weight` [K, F] and `bias` [K], the metric and the likeness, fitted to the other folds' images.

    They have not seen the `others`, bool [N].
    """

    others: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    metric: Metric
    likeness: Likeness

    def parts(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Energy, distance and likeness, [3, N], of images of directions [N, C] and features [N, F]."""
        energy = logsumexp(h @ self.weight.T + self.bias, axis=1)
        return np.stack([energy, self.metric.nearest(x), self.likeness.of(x)])


@dataclass(frozen=True)
class Scores:
    """The score of each image, [N], by its fold: its parts by these weights, of the likeness what is above `usual`."""

    known: np.ndarray
    of_folds: tuple[Fold, ...]
    by_energy: float
    by_distance: float
    by_likeness: float
    usual: float

    def by_fold(self, number: int, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """The scores of images of directions [N, C] and features [N, F] by one of the folds: [N]."""
        return self.mixed(self.of_folds[number].parts(x, h))

    def mixed(self, parts: np.ndarray) -> np.ndarray:
        """The scores [N] of parts [3, N]."""
        energy, distance, likeness = parts
        by_likeness = self.by_likeness * np.maximum(0, likeness - self.usual)
        return np.asarray(self.by_energy * energy + self.by_distance * distance + by_likeness)


@dataclass(frozen=True)
class Featured:
    """A graph with the names of three tensors of it, and the first two of the training images: see with_pooled_maximum.

    These are directions `x`, float64 [N, C], and what the head is given, `h` [N, F]; `examples` [M, C] are directions
    of the given examples of what is no class.
    """

    model: onnx.ModelProto
    direction: str
    given: str
    logits: str
    x: np.ndarray
    h: np.ndarray
    examples: np.ndarray

    def of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directions and features of other images."""
        return _features(self.model, self.direction, self.given, images)


@lru_cache(maxsize=1)  # an export asks three times, and it takes as long as all that it does with it
def featured(model: bytes, images: FrozenImages) -> Featured:
    """The features of the training images. Raises FamiliarityError if the net has no map before its last layer."""
    made, direction, given, logits = with_pooled_maximum(onnx.ModelProto.FromString(model))
    examples = np.zeros((0, 0))
    if len(images.given):
        examples, _ = _features(made, direction, given, images.given)
    return Featured(made, direction, given, logits, *_features(made, direction, given, images.known), examples)


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


def score_in_folds(x: np.ndarray, h: np.ndarray, examples: np.ndarray, head: Head, images: FrozenImages) -> Scores:
    """Score images of directions [N, C] and features [N, F], each by what was fitted without its fold.

    `examples` [M, C] are directions of what is no class.
    """
    of_folds = tuple(_fit_folds(x, h, examples, head, images.penalty, images.temperature))
    parts = np.empty((3, len(x)))
    for fold in of_folds:
        parts[:, fold.others] = fold.parts(x[fold.others], h[fold.others])
    by_energy, by_distance, by_likeness = (np.array([1, -1, -1]) / np.maximum(parts.std(axis=1), 1e-12)).tolist()
    usual = float(np.quantile(parts[2], 1 - _LIKELIEST))
    scores = Scores(np.zeros(0), of_folds, by_energy, by_distance, by_likeness, usual)
    return replace(scores, known=scores.mixed(parts))


def _fit_folds(
    x: np.ndarray, h: np.ndarray, examples: np.ndarray, head: Head, least: float, temperature: float
) -> Iterator[Fold]:
    penalties: Sequence[float] = [penalty for penalty in PENALTIES if penalty >= least * 0.999]
    for i in range(FOLDS):
        rest = head.fold != i
        turned, rotation, centre = rotate(h, rest)
        counts = None if head.counts is None else head.counts[rest]
        *_, (weight, bias) = solve(turned[rest], head.labels[rest], head.classes, penalties, counts)
        weight = weight @ rotation.T
        metric = fit_metric(x[rest], head.labels[rest])
        bias = (bias - weight @ centre) / temperature
        yield Fold(~rest, weight / temperature, bias, metric, fit_likeness(x[rest], examples))


def _features(model: onnx.ModelProto, direction: str, given: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, h = named_outputs(model, (direction, given), images)
    return x.astype(np.float64), h.astype(np.float64)
