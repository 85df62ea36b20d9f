"""The layers of a familiarity, appended to a graph that gives its features.

Letters in shapes: N images, D features.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import nn

from clf_export.errors import FamiliarityError
from clf_export.familiarity.features import FEATURES
from clf_export.familiarity.nodes import constant, linear, relu
from clf_runtime.model.familiarity import OUTPUT

_APART = 1e-6  # knots of the share, in units of the net's output
_SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)


def append_net(
    featured: onnx.ModelProto, net: nn.Sequential, mean: np.ndarray, deviation: np.ndarray, held_out: np.ndarray
) -> onnx.ModelProto:
    """Append a net's layers, and after them the share of held-out images with a smaller value, to a graph.

    `net` takes standardised features, (features - mean) / deviation, all [D]; `held_out` holds features, [N, D]. The
    second output becomes `familiarity`, float32 [batch] in 0..1.
    Raises FamiliarityError if the net gives all held-out images the same value.
    """
    first, second, last = (layer for layer in net if isinstance(layer, nn.Linear))
    w1, b1, w2, b2, w3, b3 = (
        value.detach().numpy().astype(np.float64)
        for layer in (first, second, last)
        for value in (layer.weight, layer.bias)
    )
    w1, b1 = w1 / deviation, b1 - (w1 / deviation) @ mean  # the standardisation is in the first layer
    hidden = np.maximum(0, np.maximum(0, held_out @ w1.T + b1) @ w2.T + b2)
    made = onnx.ModelProto()
    made.CopyFrom(featured)
    name = FEATURES
    # tract takes a name that ends in a number for an output of the node named before it: no "familiarity.0"
    for layer, weight, bias in (("first", w1, b1), ("second", w2, b2)):
        name = relu(made.graph, linear(made.graph, name, weight, bias, f"familiarity.{layer}"))
    return append_share(made, name, w3, float(b3[0]), hidden @ w3[0] + b3[0])


def append_share(
    model: onnx.ModelProto, name: str, weight: np.ndarray, bias: float, held_out: np.ndarray
) -> onnx.ModelProto:
    """Make `familiarity` the second output: the share of `held_out` scores, [N], that are below an image's.

    The score is the tensor `name`, [batch, D], times `weight`, [1, D], plus `bias`. Between a few of its quantiles the
    share is interpolated. `model` is changed and returned.
    Raises FamiliarityError if all scores are equal.
    """
    values = np.quantile(held_out, _SHARES)
    apart = np.append(np.diff(values) > _APART, True)  # of equal values the last, which has the largest share
    knots, shares = values[apart], np.array(_SHARES)[apart]
    if len(knots) < 2:
        raise FamiliarityError("the held-out images are all equally familiar")
    shares[0] = 0
    slopes = np.diff(shares) / np.diff(knots)
    bends = np.diff(slopes, prepend=0, append=0)  # the share as a sum of rectified lines, one from each knot
    graph = model.graph
    above = relu(graph, linear(graph, name, np.repeat(weight, len(knots), axis=0), bias - knots, "familiarity.knots"))
    share = linear(graph, above, bends[None], np.zeros(1), "familiarity.share")
    least, most, shape = (
        constant(graph, f"familiarity.{what}", value)
        for what, value in (("least", np.float32(0)), ("most", np.float32(1)), ("shape", np.array([-1], np.int64)))
    )
    graph.node.append(helper.make_node("Clip", [share, least, most], ["familiarity.clipped"]))
    graph.node.append(helper.make_node("Reshape", ["familiarity.clipped", shape], [OUTPUT]))
    del graph.output[1:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch"]))
    onnx.checker.check_model(model)
    return model
