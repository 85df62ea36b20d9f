"""The layers of a familiarity, appended to a graph that gives its features.

Letters in shapes: N images, D features.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from clf_export.errors import FamiliarityError
from clf_export.familiarity.features import FEATURES
from clf_runtime.model.familiarity import OUTPUT

_APART = 1e-6  # knots of the share, in units of the net's output
_SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)


def append_familiarity(
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
    values = np.quantile(hidden @ w3[0] + b3[0], _SHARES)
    apart = np.append(np.diff(values) > _APART, True)  # of equal values the last, which has the largest share
    knots, shares = values[apart], np.array(_SHARES)[apart]
    if len(knots) < 2:
        raise FamiliarityError("the held-out images are all equally familiar")
    shares[0] = 0
    slopes = np.diff(shares) / np.diff(knots)
    bends = np.diff(slopes, prepend=0, append=0)  # the share as a sum of rectified lines, one from each knot
    layers = [
        (w1, b1),
        (w2, b2),
        (np.repeat(w3, len(knots), axis=0), b3 - knots),  # how far above each knot
        (bends[None], np.zeros(1)),
    ]
    made = onnx.ModelProto()
    made.CopyFrom(featured)
    graph = made.graph
    name = FEATURES
    for i, (weight, bias) in enumerate(layers):
        for what, value in (("weight", weight), ("bias", bias)):
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), f"familiarity.{i}.{what}"))
        parameters = [f"familiarity.{i}.weight", f"familiarity.{i}.bias"]
        graph.node.append(helper.make_node("Gemm", [name, *parameters], [f"familiarity_{i}"], transB=1))
        name = f"familiarity_{i}"
        if i < len(layers) - 1:
            graph.node.append(helper.make_node("Relu", [name], [f"{name}_relu"]))
            name = f"{name}_relu"
    for limit, value in (("least", 0), ("most", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"familiarity_{limit}"))
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "familiarity_shape"))
    graph.node.append(helper.make_node("Clip", [name, "familiarity_least", "familiarity_most"], ["familiarity_share"]))
    graph.node.append(helper.make_node("Reshape", ["familiarity_share", "familiarity_shape"], [OUTPUT]))
    del graph.output[1:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch"]))
    onnx.checker.check_model(made)
    return made
