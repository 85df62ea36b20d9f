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

import numpy as np
import onnx
from onnx import helper

from clf_export.familiarity.append import append_share
from clf_export.familiarity.fold_scores import featured, head_of, score_in_folds
from clf_export.familiarity.images import FrozenImages
from clf_export.familiarity.likeness import Likeness, fit_likeness
from clf_export.familiarity.metric import Metric, fit_metric
from clf_export.familiarity.nodes import constant, linear, relu


def with_neighbours(model: onnx.ModelProto, images: FrozenImages) -> onnx.ModelProto:
    """The model with a second output, `familiarity`, float32 [batch] in 0..1: the share of the training images below.

    Raises FamiliarityError if the net has no map before its last layer, or all images are equally familiar; ModelError
    if onnxruntime cannot run it.
    """
    found = featured(model.SerializeToString(deterministic=True), images)
    scores = score_in_folds(found.x, found.h, found.examples, head_of(images), images)
    metric = fit_metric(found.x, images.labels)
    made = onnx.ModelProto()
    made.CopyFrom(found.model)
    parts = _append_parts(made.graph, found.direction, found.logits, metric)
    weight = np.array([[scores.by_energy, scores.by_distance, -scores.by_distance / metric.scale]])
    if len(found.examples):
        likeness = fit_likeness(found.x, found.examples)
        parts = _append_likeness(made.graph, found.direction, parts, likeness, scores.usual)
        weight = np.append(weight, [[scores.by_likeness]], axis=1)
    return append_share(made, parts, weight, scores.by_distance / metric.scale, scores.known)


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


def _append_likeness(graph: onnx.GraphProto, direction: str, parts: str, likeness: Likeness, usual: float) -> str:
    """Append how much more than usual an image is like the examples; its name with the other parts, [batch, 4]."""
    plane = linear(graph, direction, likeness.slope[None], np.array([likeness.offset - usual]), "familiarity.likeness")
    graph.node.append(helper.make_node("Concat", [parts, relu(graph, plane)], ["familiarity.all_parts"], axis=1))
    return "familiarity.all_parts"
