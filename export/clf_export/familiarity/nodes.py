"""Nodes of a familiarity in a graph.

Letters in shapes: D inputs and E outputs of a layer.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def linear(graph: onnx.GraphProto, name: str, weight: np.ndarray, bias: np.ndarray, layer: str) -> str:
    """Append a layer of this `weight`, [E, D], and `bias`, [E], to a graph; returns its output's name."""
    parameters = [constant(graph, f"{layer}.weight", weight), constant(graph, f"{layer}.bias", bias)]
    graph.node.append(helper.make_node("Gemm", [name, *parameters], [layer], transB=1))
    return layer


def relu(graph: onnx.GraphProto, name: str) -> str:
    """Append a ReLU to a graph; returns its output's name."""
    graph.node.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
    return f"{name}.relu"


def constant(graph: onnx.GraphProto, name: str, value: np.ndarray | np.generic) -> str:
    """Add a constant to a graph, float64 as float32; returns its name."""
    array = np.asarray(value)
    graph.initializer.append(
        numpy_helper.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array, name)
    )
    return name
