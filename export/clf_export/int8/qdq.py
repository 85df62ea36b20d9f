"""A float graph as an int8 one, by onnxruntime's static quantizer.

The result is in ONNX's own operators (QuantizeLinear and DequantizeLinear around the float ones, "QDQ"), which any
runtime can run and onnxruntime turns into integer kernels where it has them.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clf_export.graph.library_calls import silenced
from clf_export.int8.layer_order import CARRIERS, DENSE, LAYERS, MOVES, finish
from clf_export.int8.ranges import Method, Ranges
from clf_runtime.engine.session import import_onnxruntime

Scheme = Literal["U8S8 reduced", "U8U8", "U8S8", "S8S8", "weights only"]
Placement = Literal["all", "first in float", "last in float", "first and last in float", "dense only"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)
EXACT: tuple[Scheme, ...] = ("U8S8 reduced", "U8U8", "weights only")
_MOST_IN_FLOAT = 0.5  # of the weights: a file that keeps more of them is hardly smaller


@dataclass(frozen=True)
class Setting:
    """One way to make a net int8.

    `scheme` is the kind of activations and weights (U unsigned, S signed; reduced: 7 bits a weight, -64..64),
    `per_channel` whether each output channel of a weight has its own scale, `method` how ranges are found, `placement`
    which layers stay in float.

    `weights only` keeps 8-bit weights in the file, which a runtime turns into floats when it loads them: no faster.

    The `EXACT` schemes give the same integers on every processor. The others need not: on x86 processors without VNNI,
    onnxruntime multiplies U8S8 (which it makes of S8S8 too) in pairs whose sum is cut off at 16 bits, unless each
    weight lies within -64..63 or so (https://github.com/microsoft/onnxruntime/pull/12088,
    https://github.com/microsoft/onnxruntime/issues/14642). U8U8 is widened to 16 bits first.
    """

    scheme: Scheme
    per_channel: bool
    method: Method
    placement: Placement

    def __str__(self) -> str:
        weights = "per channel" if self.per_channel else "per tensor"
        if self.scheme == "weights only":
            return f"{self.scheme}, {weights}, layers: {self.placement}"
        return f"{self.scheme}, {weights}, {self.method}, layers: {self.placement}"


def layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes with constant weights, in order: those that int8 can make smaller and faster."""
    constants = {initializer.name for initializer in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in LAYERS and node.input[1] in constants]


def kept_in_float(model: onnx.ModelProto, placement: Placement) -> list[str] | None:
    """The names of the layers that a placement keeps in float.

    None if the placement is another's equal in this net, or keeps more than half of the weights, so that little is won.
    """
    nodes = layers(model)
    names = [node.name for node in nodes]
    kept = {
        "all": [],
        "first in float": names[:1],
        "last in float": names[-1:],
        "first and last in float": [*names[:1], *names[-1:]],
        "dense only": [node.name for node in nodes if node.op_type not in DENSE],
    }[placement]
    sizes = {i.name: math.prod(i.dims) for i in model.graph.initializer}
    weights = {node.name: sizes[node.input[1]] for node in nodes}
    is_other = placement == "dense only" and kept in ([], names[:1])
    if is_other or sum(weights[name] for name in set(kept)) > _MOST_IN_FLOAT * sum(weights.values()):
        return None
    return kept if nodes else None


def watched_tensors(model: onnx.ModelProto) -> list[str]:
    """The float32 tensors whose ranges a quantizer may ask for, in the order of the graph."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)}
    kinds |= {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    wanted = dict.fromkeys(
        name
        for node in model.graph.node
        if node.op_type in (*LAYERS, *CARRIERS)
        for name in (*node.input, *node.output)
        if kinds.get(name) == TensorProto.FLOAT
    )
    return list(wanted)


def to_int8(model: onnx.ModelProto, setting: Setting, ranges: Ranges) -> bytes:
    """Quantise a model that `ordering.put_in_order` has made with ranges for its `watched_tensors`: a whole ONNX file.

    Inputs and outputs are the float model's, so are opset and IR version. The same arguments give the same bytes.
    Raises ValueError if the setting leaves nothing to quantise, and whatever onnxruntime's quantizer raises.
    """
    import_onnxruntime()
    from onnxruntime.quantization import QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    kept = kept_in_float(model, setting.placement)
    if kept is None:
        raise ValueError("there is no layer to quantise")
    if setting.scheme == "weights only":
        return finish(_weights_only(model, kept), model)
    activations = QuantType.QInt8 if setting.scheme.startswith("S8") else QuantType.QUInt8
    weights = QuantType.QUInt8 if setting.scheme == "U8U8" else QuantType.QInt8
    bounds = {t: (np.float32(low), np.float32(high)) for t, (low, high) in (ranges | _of_bytes(model)).items()}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with silenced():
        quantizer = QDQQuantizer(
            copy,
            setting.per_channel,
            setting.scheme.endswith("reduced"),
            weights,
            activations,
            TensorsData(CalibrationMethod.MinMax, bounds),
            [],
            kept,
            [*LAYERS, *CARRIERS],
            {},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    return finish(quantizer.model.model, model)


def _weights_only(model: onnx.ModelProto, kept: list[str]) -> onnx.ModelProto:
    """The layers' weights, but for those kept in float, as int8 and a scale for each output channel.

    Not as a DequantizeLinear, which onnxruntime repeats for each batch: what is here, it computes once, when it loads.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    constants = {initializer.name: initializer for initializer in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in layers(copy):
        name = node.input[1]
        if node.name in kept:
            continue
        if name in constants:  # else another layer shares it
            weight = numpy_helper.to_array(constants.pop(name))
            others = tuple(axis for axis in range(weight.ndim) if axis != _output_axis(node, weight.ndim))
            scale = np.abs(weight).max(axis=others, keepdims=True) / np.float32(127)
            scale[scale == 0] = 1
            values = np.rint(weight / scale).astype(np.int8)
            graph.initializer.append(numpy_helper.from_array(values, f"{name}_int8"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
            nodes.append(helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [f"{name}_float"]))
        node.input[1] = f"{name}_float"
    nodes.extend(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return copy


def _output_axis(layer: onnx.NodeProto, axes: int) -> int:
    """Along which axis of its weight a layer's output channels lie."""
    is_transposed = any(a.name == "transB" and a.i for a in layer.attribute)
    return {"Conv": 0, "ConvTranspose": 1, "Gemm": 0 if is_transposed else 1}.get(layer.op_type, axes - 1)


def _of_bytes(model: onnx.ModelProto) -> Ranges:
    """The range 0..255 of tensors that are uint8 images cast to float: a scale of 1 keeps every value as it is."""
    images = {i.name for i in model.graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    ranges: Ranges = {}
    for node in model.graph.node:
        if node.op_type in MOVES and node.input[0] in images:
            images.add(node.output[0])
        elif node.op_type == "Cast" and node.input[0] in images:
            ranges[node.output[0]] = (0.0, 255.0)
    return ranges
