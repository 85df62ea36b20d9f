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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class _Fold:
    """Of a fold the `others`, bool [N], and what was fitted to the rest: head, metric, and likeness to the examples."""

    others: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    metric: Metric
    slope: np.ndarray
    offset: float

    def parts(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Energy, distance and likeness, [3, N], of directions x [N, C] and what the head is given, h [N, F]."""
        energy = logsumexp(h @ self.weight.T + self.bias, axis=1)
        return np.stack([energy, self.metric.nearest(x), x @ self.slope + self.offset])


@dataclass(frozen=True)
class _Mix:
    """How the three parts become one score: their weights, and the likeness up to which it does not count."""

    by_energy: float
    by_distance: float
    by_likeness: float
    usual: float

    def score(self, parts: np.ndarray) -> np.ndarray:
        """The score [N] of parts [3, N]."""
        energy, distance, likeness = parts
        found: np.ndarray = (
            self.by_energy * energy
            + self.by_distance * distance
            + self.by_likeness * np.maximum(0, likeness - self.usual)
        )
        return found


def with_neighbours(model: onnx.ModelProto, images: FrozenImages) -> onnx.ModelProto:
    """The model with a second output, `familiarity`, float32 [batch] in 0..1: the share of the training images below.

    Raises FamiliarityError if the net has no map before its last layer, or all images are equally familiar; ModelError
    if onnxruntime cannot run it.
    """
    made, direction, given, logits = with_pooled_maximum(model)
    x, h = _features(made, (direction, given), images.known)
    examples = _examples(made, (direction, given), images)
    mix, score = _mixed(x, h, list(_folds(x, h, images, examples)))
    metric = fit_metric(x, images.labels)
    parts = _append_parts(made.graph, direction, logits, metric)
    weight = np.array([[mix.by_energy, mix.by_distance, -mix.by_distance / metric.scale]])
    if len(examples):
        slope, offset = _likeness(x, examples)
        parts = _append_likeness(made.graph, direction, parts, slope, offset - mix.usual)
        weight = np.append(weight, [[mix.by_likeness]], axis=1)
    return append_share(made, parts, weight, mix.by_distance / metric.scale, score)


def called_unknown(
    model: onnx.ModelProto, images: FrozenImages, rows: np.ndarray, changed: Sequence[np.ndarray], threshold: float
) -> list[float]:
    """The share of changed known images, each [M, C, H, W] of the `rows` int64 [M], that is below the `threshold`.

    Each is scored by the head and the metric that had not seen the image that it was made of.
    """
    made, direction, given, _ = with_pooled_maximum(model)
    x, h = _features(made, (direction, given), images.known)
    of_folds = list(_folds(x, h, images, _examples(made, (direction, given), images)))
    mix, known = _mixed(x, h, of_folds)
    least = np.quantile(known, threshold)
    shares = []
    for those in changed:
        (away_x, away_h), score = _features(made, (direction, given), those), np.empty(len(rows))
        for fold in of_folds:
            mine = fold.others[rows]
            if mine.any():
                score[mine] = mix.score(fold.parts(away_x[mine], away_h[mine]))
        shares.append(float((score < least).mean()))
    return shares


def left_out_scores(
    model: onnx.ModelProto, images: FrozenImages, rounds: Sequence[Sequence[int]]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each round the scores of known images [M], and of those of the classes left out [F], with labels int64 [F].

    Head and metric are fitted without these classes, and each image is scored by those of its fold, which it is new to.
    """
    made, direction, given, _ = with_pooled_maximum(model)
    x, h = _features(made, (direction, given), images.known)
    examples = _examples(made, (direction, given), images)
    apart = folds(images.labels, FOLDS, images.seed)
    for left_out in rounds:
        is_foreign = np.isin(images.labels, left_out)
        classes = np.unique(images.labels[~is_foreign])
        some = replace(
            images,
            known=images.known[:0],
            labels=np.searchsorted(classes, images.labels[~is_foreign]),
            classes=len(classes),
            counts=None if images.counts is None else images.counts[~is_foreign],
        )
        of_folds = list(_folds(x[~is_foreign], h[~is_foreign], some, examples, apart[~is_foreign]))
        mix, known = _mixed(x[~is_foreign], h[~is_foreign], of_folds)
        foreign = np.empty(len(apart))
        for i, fold in enumerate(of_folds):
            mine = is_foreign & (apart == i)
            foreign[mine] = mix.score(fold.parts(x[mine], h[mine]))
        yield known, foreign[is_foreign], images.labels[is_foreign]


def _features(model: onnx.ModelProto, names: tuple[str, str], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction [N, C] and what the head is given [N, F] of images, float64."""
    direction, given = named_outputs(model, names, images)
    return direction.astype(np.float64), given.astype(np.float64)


def _examples(model: onnx.ModelProto, names: tuple[str, str], images: FrozenImages) -> np.ndarray:
    """The directions [M, C] of the examples of what is no class, perhaps none."""
    return _features(model, names, images.given)[0] if len(images.given) else np.zeros((0, 0))


def _folds(
    x: np.ndarray, h: np.ndarray, images: FrozenImages, examples: np.ndarray, fold: np.ndarray | None = None
) -> Iterator[_Fold]:
    """Of each fold what was fitted to the others; `fold` is which each image is in, [N]."""
    fold = folds(images.labels, FOLDS, images.seed) if fold is None else fold
    penalties = [penalty for penalty in PENALTIES if penalty >= images.penalty * 0.999]
    for i in range(int(fold.max()) + 1):
        rest = fold != i
        turned, rotation, centre = rotate(h, rest)
        counts = None if images.counts is None else images.counts[rest]
        *_, (weight, bias) = solve(turned[rest], images.labels[rest], images.classes, penalties, counts)
        weight = weight @ rotation.T
        bias = bias - weight @ centre
        yield _Fold(
            ~rest,
            weight / images.temperature,
            bias / images.temperature,
            fit_metric(x[rest], images.labels[rest]),
            *_likeness(x[rest], examples),
        )


def _mixed(x: np.ndarray, h: np.ndarray, of_folds: Sequence[_Fold]) -> tuple[_Mix, np.ndarray]:
    """How the parts are mixed, and the training images' own scores [N], each by its fold."""
    parts = np.empty((3, len(x)))
    for fold in of_folds:
        parts[:, fold.others] = fold.parts(x[fold.others], h[fold.others])
    by_energy, by_distance, by_likeness = np.array([1, -1, -1]) / np.maximum(parts.std(axis=1), 1e-12)
    mix = _Mix(float(by_energy), float(by_distance), float(by_likeness), float(np.quantile(parts[2], 1 - _LIKELIEST)))
    return mix, mix.score(parts)


def _likeness(x: np.ndarray, examples: np.ndarray) -> tuple[np.ndarray, float]:
    """A slope [C] and an offset: how much more a direction is like the examples [M, C] than like x [N, C]."""
    if not len(examples):
        return np.zeros(x.shape[1]), 0.0
    both, labels = np.concatenate([x, examples]), np.repeat([0, 1], [len(x), len(examples)])
    turned, axes, centre = rotate(both, np.ones(len(both), bool))
    counts = np.where(labels == 0, len(both) / (2 * len(x)), len(both) / (2 * len(examples)))
    *_, (weight, bias) = solve(turned, labels, 2, [_LIKENESS_PENALTY], counts)
    slope = axes @ (weight[1] - weight[0])
    return slope, float(bias[1] - bias[0] - centre @ slope)


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
