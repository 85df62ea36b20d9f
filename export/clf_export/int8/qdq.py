"""Static quantisation of a float graph by onnxruntime's quantizer.

The result is in QDQ format: standard ONNX operators, QuantizeLinear and DequantizeLinear around the float ones, which
any runtime can run, and which onnxruntime fuses into integer kernels where it has them.
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
_MOST_IN_FLOAT = 0.5  # of the weights: a file with more in float is hardly smaller
_BATCH = 64  # images per calibration step, fewer if they are large


@dataclass(frozen=True)
class Setting:
    """One way to quantise a net: the scheme, and which layers stay in float.

    `U8S8 reduced` has uint8 activations with minmax calibration, and int8 weights of 7 bits, -64..64, with a scale per
    output channel or per tensor. With all 8 bits, onnxruntime's kernels for x86 processors without VNNI saturate the
    sum of two products at 16 bits (https://github.com/microsoft/onnxruntime/pull/12088,
    https://github.com/microsoft/onnxruntime/issues/14642).
    `weights only` stores int8 weights, which the runtime dequantises once when it loads them: smaller, but no faster.
    """

    scheme: Scheme
    placement: Placement

    def __str__(self) -> str:
        ranges = "" if self.scheme.startswith("weights only") else ", minmax"
        return f"{self.scheme}{ranges}, layers: {self.placement}"


def layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes with constant weights, in order: what int8 can make smaller and faster."""
    constants = {initializer.name for initializer in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in LAYERS and node.input[1] in constants]


def kept_in_float(model: onnx.ModelProto, placement: Placement) -> list[str] | None:
    """The names of the layers that a placement keeps in float.

    None if there is no layer, or if more than half of the weights would stay in float.
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
    """Quantise a model that `passes.before_quantisation` has prepared; returns the ONNX file.

    `images`, uint8 or float32 [N, C, H, W], calibrate the activations. Inputs, outputs, opset and IR version are the
    float model's. Deterministic: the same arguments give the same bytes.
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
    """The images in batches, with the interface of onnxruntime's CalibrationDataReader."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        size = at_once(images.shape[1:], _BATCH)
        blocks = (images[i : i + size] for i in range(0, len(images), size))
        self.batches: Iterator[dict[str, np.ndarray]] = ({name: np.ascontiguousarray(block)} for block in blocks)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def _as_they_are(model: onnx.ModelProto) -> dict[str, list[dict[str, object]]]:
    """The range 0..255 for uint8 images that are cast to float: a scale of 1, which keeps their values exact."""
    images = {i.name for i in model.graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    ranges: dict[str, list[dict[str, object]]] = {}
    for node in model.graph.node:
        if node.op_type in MOVES and node.input[0] in images:
            images.add(node.output[0])
        elif node.op_type == "Cast" and node.input[0] in images:
            ranges[node.output[0]] = [{"rmin": np.float32(0), "rmax": np.float32(255)}]
    return ranges


def _weights_only(model: onnx.ModelProto, kept: list[str]) -> onnx.ModelProto:
    """The model with the layers' weights, except those kept in float, as int8 and a scale per output channel.

    By Cast and Mul, which onnxruntime folds when it loads the model; a DequantizeLinear would run for each batch.
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
    """The axis of a layer's output channels in its weights."""
    is_transposed = any(a.name == "transB" and a.i for a in layer.attribute)
    return {"Conv": 0, "ConvTranspose": 1, "Gemm": 0 if is_transposed else 1}.get(layer.op_type, axes - 1)
