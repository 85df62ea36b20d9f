"""Weights so small that processors are slow with them, set to zero: of every graph that is written."""

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

_LEAST_WEIGHT = 1e-30  # in magnitude; the smallest normal float32 is 1.2e-38
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def drop_denormals(model: ModelProto) -> None:
    """Set weights of layers so small that products with them are denormal to 0: processors take many times as long.

    Channels that died in training have such weights, and folding makes them smaller still. Sums over a layer's inputs
    do not change by it. Other constants stay as they are: one may keep a logarithm or a division from 0.
    """
    users: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, set()).add(node.op_type)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and users.get(tensor.name, {""}).issubset(_LAYERS):
            values = numpy_helper.to_array(tensor)
            tiny = (np.abs(values) < _LEAST_WEIGHT) & (values != 0)
            if tiny.any():
                tensor.CopyFrom(numpy_helper.from_array(np.where(tiny, np.float32(0), values), tensor.name))
