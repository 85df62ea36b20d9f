"""A float graph as an int8 one, by onnxruntime's static quantizer.

The result is in ONNX's own operators (QuantizeLinear and DequantizeLinear around the float ones, "QDQ"), which any
runtime can run and onnxruntime turns into integer kernels where it has them.
"""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clf_export.graph.library_calls import silenced
from clf_export.int8.passes import CARRIERS, LAYERS, MOVES, after_quantisation
from clf_export.proof.parity import at_once
from clf_runtime.engine.ort_library import import_onnxruntime

Scheme = Literal["U8S8 reduced, per channel", "U8S8 reduced, per tensor", "weights only, per channel"]
Placement = Literal["all", "first in float", "last in float", "first and last in float"]
_MOST_IN_FLOAT = 0.5  # of the weights: a file that keeps more of them is hardly smaller
_BATCH = 64  # images of a step of the calibration, fewer where they are large


@dataclass(frozen=True)
class Setting:
    """One way to make a net int8: how numbers are held, and which layers stay in float.

    `U8S8 reduced` has uint8 activations, whose ranges hold all values that were seen (minmax), and int8 weights of 7
    bits, -64..64, with a scale for each output channel or for the tensor. All 8 bits would not do: on x86 processors
    without VNNI, onnxruntime multiplies in pairs whose sum is cut off at 16 bits, unless each weight lies within
    -64..63 or so (https://github.com/microsoft/onnxruntime/pull/12088,
    https://github.com/microsoft/onnxruntime/issues/14642).
    `weights only` keeps 8-bit weights in the file, which a runtime turns into floats when it loads them: no faster.
    """

    scheme: Scheme
    placement: Placement

    def __str__(self) -> str:
        ranges = "" if self.scheme.startswith("weights only") else ", minmax"
        return f"{self.scheme}{ranges}, layers: {self.placement}"


def layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes with constant weights, in order: those that int8 can make smaller and faster."""
    constants = {initializer.name for initializer in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in LAYERS and node.input[1] in constants]


def kept_in_float(model: onnx.ModelProto, placement: Placement) -> list[str] | None:
    """The names of the layers that a placement keeps in float.

    None if there is no layer, or if it keeps more than half of the weights, so that little is won.
    """
    nodes = layers(model)
    first, last = nodes[:1], nodes[-1:]
    kept = {"all": [], "first in float": first, "last in float": last, "first and last in float": first + last}
    names = [node.name for node in kept[placement]]
    sizes = {i.name: math.prod(i.dims) for i in model.graph.initializer}
    weights = {node.name: sizes[node.input[1]] for node in nodes}
    too_many = sum(weights[name] for name in set(names)) > _MOST_IN_FLOAT * sum(weights.values())
    return None if too_many or not nodes else names


def to_int8(model: onnx.ModelProto, setting: Setting, images: np.ndarray) -> bytes:
    """Quantise a model that `passes.before_quantisation` has made: a whole ONNX file.

    `images`, uint8 or float32 [N, C, H, W], say what ranges values have. Inputs and outputs are the float model's, so
    are opset and IR version. The same arguments give the same bytes.
    Raises ValueError if the setting leaves nothing to quantise, and whatever onnxruntime's quantizer raises.
    """
    kept = kept_in_float(model, setting.placement)
    if kept is None:
        raise ValueError("there is no layer to quantise")
    if setting.scheme.startswith("weights only"):
        return after_quantisation(_weights_only(model, kept), model)
    import_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_static

    with silenced(), tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, before)
        quantize_static(
            before,
            after,
            _Batches(model.graph.input[0].name, images),
            op_types_to_quantize=[*LAYERS, *CARRIERS],
            per_channel=setting.scheme.endswith("per channel"),
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"TensorQuantOverrides": _as_they_are(model)},
        )
        return after_quantisation(onnx.load(after), model)


class _Batches:
    """The images as onnxruntime's CalibrationDataReader takes them, some at a time."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        size = at_once(images.shape[1:], _BATCH)
        blocks = (images[i : i + size] for i in range(0, len(images), size))
        self.batches: Iterator[dict[str, np.ndarray]] = ({name: np.ascontiguousarray(block)} for block in blocks)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def _as_they_are(model: onnx.ModelProto) -> dict[str, list[dict[str, object]]]:
    """The range 0..255 for uint8 images that are cast to float: a scale of 1 keeps every value as it is."""
    images = {i.name for i in model.graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    ranges: dict[str, list[dict[str, object]]] = {}
    for node in model.graph.node:
        if node.op_type in MOVES and node.input[0] in images:
            images.add(node.output[0])
        elif node.op_type == "Cast" and node.input[0] in images:
            ranges[node.output[0]] = [{"rmin": np.float32(0), "rmax": np.float32(255)}]
    return ranges


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
