"""The graph of an adopted model: the stated preprocessing, the original's graph, and a softmax where it is missing.

    image [batch, C, H, W] → channels reversed → cast, mean, std → layout → net → softmax → probabilities [batch, K]

The rules of graph.rewrite then fold the preprocessing into the first layer where that is exact.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clf_export.adoption.contract import Contract
from clf_export.adoption.lowering import lower
from clf_export.adoption.original import Original
from clf_export.adoption.stated import Stated
from clf_export.errors import AdoptionError
from clf_export.graph.denormals import drop_denormals
from clf_export.graph.rewrite import rewrite
from clf_export.graph.translate import BATCH, INPUT, OUTPUT
from clf_runtime.errors import brief

Step = tuple[str, list[str], dict[str, Any]]  # operator, constant inputs behind the first, attributes


def build(original: Original, stated: Stated, contract: Contract, output_shape: Sequence[int]) -> onnx.ModelProto:
    """The adopted model: `image` uint8 [batch, C, H, W] to `probabilities` float32 [batch, K], of opset 18 and IR 8.

    `output_shape` is that of the original's output for a batch. Raises AdoptionError if the result is not valid ONNX.
    """
    net = lower(original, contract.shape, len(output_shape))
    front, weights = _front(stated, contract, net.graph.input[0].name)
    scores = original.engine.outputs[original.output]
    classes = math.prod(output_shape[1:])
    back, more = _back(stated, scores.dtype, output_shape, net.graph.output[0].name)
    shape: list[str | int | None] = [BATCH, *contract.image_shape]
    graph = helper.make_graph(
        [*front, *net.graph.node, *back],
        "clf-edge",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [BATCH, max(2, classes)])],
        [*net.graph.initializer, *weights, *more],
    )
    model = helper.make_model(
        graph, opset_imports=net.opset_import, ir_version=net.ir_version, producer_name="clf-edge"
    )
    try:
        onnx.checker.check_model(model, full_check=True)
        made = _rewritten(model)
        drop_denormals(made)
        return made
    except Exception as error:  # of the checker or of shape inference
        raise AdoptionError(f"{original.path}: cannot be made valid ONNX: {brief(error, 300)}") from None


def _rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model made smaller and faster; as it is if the rules, written for other graphs, do not apply to it."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    try:
        rewrite(made)
        onnx.checker.check_model(made, full_check=True)
    except Exception:  # a foreign graph may hold what no rule has met; the proof is of whatever is written
        return model
    return made


def _front(stated: Stated, contract: Contract, taken: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """From `image` to the original's input."""
    steps: list[Step] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(values, name))
        return name

    if stated.channels == "BGR":
        steps.append(("Gather", [constant("channels", np.array([2, 1, 0], np.int64))], {"axis": 1}))
    if contract.dtype != "uint8":
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
        both = (("Sub", "mean", contract.pixel_mean), ("Div", "std", contract.pixel_std))
        for op_type, name, values in both:
            if any(value != (op_type == "Div") for value in values):  # not x - 0, nor x / 1
                shaped = np.array(values, np.float32).reshape(1, -1, 1, 1)
                steps.append((op_type, [constant(name, shaped)], {}))
    if stated.layout == "NHWC":
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    if len(contract.shape) == 1:
        steps.append(("Flatten", [], {"axis": 1}))
    if contract.dtype not in ("uint8", "float32"):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(contract.dtype))
        steps.append(("Cast", [], {"to": kind}))
    return _chain("pixels", INPUT, steps, taken), weights


def _back(
    stated: Stated, dtype: str, shape: Sequence[int], given: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """From the original's output to `probabilities`."""
    steps: list[Step] = []
    weights: list[onnx.TensorProto] = []
    classes = math.prod(shape[1:])
    if dtype != "float32":
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    if len(shape) != 2:
        weights.append(numpy_helper.from_array(np.array([-1, classes], np.int64), "rows"))
        steps.append(("Reshape", ["rows"], {}))
    if classes == 1:  # logit z: softmax of (0, z) is (1 - sigmoid(z), sigmoid(z)); probability p: (1 - p, p)
        kernel = np.array([[0.0, 1.0] if stated.logits else [-1.0, 1.0]], np.float32)
        offset = np.array([0.0, 0.0] if stated.logits else [1.0, 0.0], np.float32)
        weights += [numpy_helper.from_array(kernel, "two"), numpy_helper.from_array(offset, "first")]
        steps.append(("Gemm", ["two", "first"], {}))
    if stated.logits:
        steps.append(("Softmax", [], {"axis": 1}))
    return _chain("scores", given, steps, OUTPUT), weights


def _chain(stem: str, start: str, steps: list[Step], end: str) -> list[onnx.NodeProto]:
    """Nodes of one input, one after another, beside their constants, from the tensor `start` to the tensor `end`."""
    nodes, name = [], start
    steps = steps or [("Identity", [], {})]
    for i, (op_type, constants, attributes) in enumerate(steps):
        following = end if i == len(steps) - 1 else f"{stem}.{i}"
        nodes.append(helper.make_node(op_type, [name, *constants], [following], **attributes))
        name = following
    return nodes
