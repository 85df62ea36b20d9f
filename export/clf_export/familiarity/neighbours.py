"""The familiarity of a pretrained net of which only the head was fitted.

Its features have not seen the training images, so each of these, in folds, is an image that the net does not know,
and few are enough. Two scores are added, each in standard deviations of the training images' own: the energy of the
logits (Liu et al., 2020, "Energy-based out-of-distribution detection", https://arxiv.org/abs/2010.03759), and minus
the squared distance to the nearest training image (Sun et al., 2022, "Out-of-distribution detection with deep nearest
neighbors", https://arxiv.org/abs/2204.06507) in the Mahalanobis metric of the classes' common covariance. Features are
the maxima of the last map's channels rather than their means, which the head has. With examples of what is no class,
the score of an image that looks more like these than 95 % of the training images is lowered, by a logistic regression.

Letters in shapes: N images, C channels, F features of the head, K classes, P prototypes, R axes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper
from scipy.special import logsumexp

from clf_export.familiarity.append import append_share
from clf_export.familiarity.features import with_pooled_maximum
from clf_export.familiarity.images import FrozenImages
from clf_export.familiarity.nodes import constant, linear, relu
from clf_export.familiarity.outputs import named_outputs
from clf_train.loop.head import FOLDS, PENALTIES, folds, rotate, solve

_MOST = 512  # prototypes, and axes: 1,280 channels are 5 MB in each
_LIKENESS_PENALTY = 1.0
_LIKELIEST = 0.05  # the share of the training images whose likeness to the examples counts


@dataclass(frozen=True)
class Metric:
    """A squared distance: (|x - p|² - |axes (x - p)|²) / scale, to the nearest of the prototypes p.

    `prototypes` is float64 [P, C] of length 1 each, `axes` [R, C].
    """

    prototypes: np.ndarray
    axes: np.ndarray
    scale: float

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """The squared distance of directions x [N, C] to the nearest prototype: [N]."""
        slopes, offsets = self.planes()
        turned = x @ self.axes.T
        return np.asarray((x @ slopes.T + offsets).min(axis=1) + (1 - (turned**2).sum(axis=1)) / self.scale)

    def planes(self) -> tuple[np.ndarray, np.ndarray]:
        """Slopes [P, C] and offsets [P] of what, beside |x|² - |axes x|², is the distance to each prototype."""
        turned = self.prototypes @ self.axes.T
        slopes = -2 / self.scale * (self.prototypes - turned @ self.axes)
        return slopes, (1 - (turned**2).sum(axis=1)) / self.scale


def fit_metric(x: np.ndarray, labels: np.ndarray) -> Metric:
    """The metric of directions x [N, C] with labels int64 [N].

    It is the inverse of the covariance within the classes plus its mean eigenvalue that is not zero.
    """
    centred = np.concatenate([x[labels == label] - x[labels == label].mean(axis=0) for label in np.unique(labels)])
    _, sizes, axes = np.linalg.svd(centred / np.sqrt(len(x)), full_matrices=False)
    spread = sizes**2
    some = spread > 1e-8 * max(spread.max(), 1e-12)
    scale = float(spread[some].mean()) if some.any() else 1.0
    weights = np.sqrt(spread / (spread + scale))[some]
    prototypes = x if len(x) <= _MOST else x[np.random.default_rng(0).permutation(len(x))[:_MOST]]
    return Metric(prototypes, (weights[:, None] * axes[some])[:_MOST], scale)


def with_neighbours(model: onnx.ModelProto, images: FrozenImages) -> onnx.ModelProto:
    """The model with a second output, `familiarity`, float32 [batch] in 0..1: the share of the training images below.

    Raises FamiliarityError if the net has no map before its last layer, or all images are equally familiar; ModelError
    if onnxruntime cannot run it.
    """
    made, direction, given, logits = with_pooled_maximum(model)
    x, h = (part.astype(np.float64) for part in named_outputs(made, (direction, given), images.known))
    given_x = np.zeros((0, x.shape[1]))
    if len(images.given):
        given_x = named_outputs(made, (direction,), images.given)[0].astype(np.float64)
    energy, distance, likeness = (np.zeros(len(x)) for _ in range(3))
    for rest, others, scores in _out_of_fold(h, images):
        energy[others] = logsumexp(scores, axis=1)
        distance[others] = fit_metric(x[rest], images.labels[rest]).nearest(x[others])
        if len(given_x):
            slope, offset = _likeness(x[rest], given_x)
            likeness[others] = x[others] @ slope + offset
    by_energy, by_distance = 1 / max(energy.std(), 1e-12), -1 / max(distance.std(), 1e-12)
    score = by_energy * energy + by_distance * distance
    metric = fit_metric(x, images.labels)
    parts = _append_parts(made.graph, direction, logits, metric)
    weight = np.array([[by_energy, by_distance, -by_distance / metric.scale]])
    if len(given_x):
        usual = float(np.quantile(likeness, 1 - _LIKELIEST))
        by_likeness = -1 / max(likeness.std(), 1e-12)
        score += by_likeness * np.maximum(0, likeness - usual)
        slope, offset = _likeness(x, given_x)
        parts = _append_likeness(made.graph, direction, parts, slope, offset - usual)
        weight = np.append(weight, [[by_likeness]], axis=1)
    return append_share(made, parts, weight, by_distance / metric.scale, score)


def _likeness(x: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, float]:
    """A slope [C] and an offset: how much more a direction is like the given examples [M, C] than like x [N, C]."""
    both, labels = np.concatenate([x, given]), np.repeat([0, 1], [len(x), len(given)])
    turned, axes, centre = rotate(both, np.ones(len(both), bool))
    counts = np.where(labels == 0, len(both) / (2 * len(x)), len(both) / (2 * len(given)))
    *_, (weight, bias) = solve(turned, labels, 2, [_LIKENESS_PENALTY], counts)
    slope = axes @ (weight[1] - weight[0])
    return slope, float(bias[1] - bias[0] - centre @ slope)


def _out_of_fold(h: np.ndarray, images: FrozenImages) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each fold the other rows and its own, bool [N], and the logits of its own by a head fitted to the others."""
    fold = folds(images.labels, FOLDS, images.seed)
    penalties = [penalty for penalty in PENALTIES if penalty >= images.penalty * 0.999]
    for i in range(int(fold.max()) + 1):
        rest = fold != i
        turned, _, _ = rotate(h, rest)
        counts = None if images.counts is None else images.counts[rest]
        *_, (weight, bias) = solve(turned[rest], images.labels[rest], images.classes, penalties, counts)
        yield rest, ~rest, (turned[~rest] @ weight.T + bias) / images.temperature


def _append_parts(graph: onnx.GraphProto, direction: str, logits: str, metric: Metric) -> str:
    """Append the energy, the nearest prototype's plane and |axes x|² to a graph; their name together, [batch, 3]."""
    slopes, offsets = metric.planes()
    axis = constant(graph, "familiarity.classes", np.array([1], np.int64))
    near = linear(graph, direction, slopes, offsets, "familiarity.prototypes")
    turned = linear(graph, direction, metric.axes, np.zeros(len(metric.axes)), "familiarity.axes")
    parts = []
    for op, name in (("ReduceLogSumExp", logits), ("ReduceMin", near), ("ReduceSumSquare", turned)):
        graph.node.append(helper.make_node(op, [name, axis], [f"familiarity.{op}"], keepdims=1))
        parts.append(f"familiarity.{op}")
    graph.node.append(helper.make_node("Concat", parts, ["familiarity.parts"], axis=1))
    return "familiarity.parts"


def _append_likeness(graph: onnx.GraphProto, direction: str, parts: str, slope: np.ndarray, offset: float) -> str:
    """Append how much more than usual an image is like the examples; its name with the other parts, [batch, 4]."""
    like = relu(graph, linear(graph, direction, slope[None], np.array([offset]), "familiarity.likeness"))
    graph.node.append(helper.make_node("Concat", [parts, like], ["familiarity.all_parts"], axis=1))
    return "familiarity.all_parts"
