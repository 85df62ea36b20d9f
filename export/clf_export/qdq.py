"""A float graph as an int8 one: onnxruntime's static quantizer, with the graph put in order before it and after it.

The result is in ONNX's own operators (QuantizeLinear and DequantizeLinear around the float ones, "QDQ"), which any
runtime can run and onnxruntime turns into integer kernels where it has them.
"""

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clf_export.ranges import Method, Ranges
from clf_runtime.session import import_onnxruntime

Scheme = Literal["U8S8 reduced", "U8U8", "U8S8", "S8S8", "weights only"]
Placement = Literal["all", "first in float", "last in float", "first and last in float", "dense only"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)
EXACT: tuple[Scheme, ...] = ("U8S8 reduced", "U8U8", "weights only")
_MOST_IN_FLOAT = 0.5  # of the weights: a file that keeps more of them is hardly smaller
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_DENSE = ("Gemm", "MatMul")
_MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice")  # change no value
# What carries 8 bits on from layer to layer. All else stays in float: softmax, normalisation, and mean pooling, whose
# float kernel is ten times as fast as onnxruntime's int8 one.
_CARRIERS = ("Relu", "Clip", "MaxPool", "Add", "Concat", "Pad", *_MOVES)


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


def put_in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float model that answers the same to the last bit, in the order in which int8 is best.

    - A ReLU behind a maximum pool goes before it, where it costs nothing: it becomes the lower end of an int8 range.
    - A cast of the image goes behind what only moves its values: uint8 images reach the first layer as they are.
    - Every node has a name, every tensor a type as far as it can be inferred. Metadata is left out.
    """
    ordered = onnx.ModelProto()
    ordered.CopyFrom(model)
    del ordered.metadata_props[:]
    graph = ordered.graph
    outputs = {output.name for output in graph.output}
    for first, second in _pairs(graph, outputs):
        if (first.op_type, second.op_type) == ("MaxPool", "Relu") and len(first.output) == 1:
            _swap(first, second)
    for _ in graph.node:  # a cast may pass several
        for first, second in _pairs(graph, outputs):
            if first.op_type == "Cast" and second.op_type in _MOVES and second.input[0] == first.output[0]:
                _swap(first, second)
                break
        else:
            break
    for i, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{i}"
    return onnx.shape_inference.infer_shapes(ordered, data_prop=True)


def _pairs(graph: onnx.GraphProto, outputs: set[str]) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Nodes and the only reader of their first output, where that is no output of the graph."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return [
        (node, readers[node.output[0]][0])
        for node in graph.node
        if len(readers.get(node.output[0], ())) == 1 and node.output[0] not in outputs
    ]


def _swap(first: onnx.NodeProto, second: onnx.NodeProto) -> None:
    """Let two nodes that follow each other change places, without a change of the tensors' names."""
    before, after = onnx.NodeProto(), onnx.NodeProto()
    before.CopyFrom(second)
    after.CopyFrom(first)
    before.input[0], after.input[0] = first.input[0], first.output[0]
    before.output[0], after.output[0] = first.output[0], second.output[0]
    first.CopyFrom(before)
    second.CopyFrom(after)


def layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes with constant weights, in order: those that int8 can make smaller and faster."""
    constants = {initializer.name for initializer in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in _LAYERS and node.input[1] in constants]


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
        "dense only": [node.name for node in nodes if node.op_type not in _DENSE],
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
        if node.op_type in (*_LAYERS, *_CARRIERS)
        for name in (*node.input, *node.output)
        if kinds.get(name) == TensorProto.FLOAT
    )
    return list(wanted)


def to_int8(model: onnx.ModelProto, setting: Setting, ranges: Ranges) -> bytes:
    """Quantise a model that `put_in_order` has made with ranges for its `watched_tensors`: a whole ONNX file.

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
        return _finish(_weights_only(model, kept), model)
    activations = QuantType.QInt8 if setting.scheme.startswith("S8") else QuantType.QUInt8
    weights = QuantType.QUInt8 if setting.scheme == "U8U8" else QuantType.QInt8
    bounds = {t: (np.float32(low), np.float32(high)) for t, (low, high) in (ranges | _of_bytes(model)).items()}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with _quiet():
        quantizer = QDQQuantizer(
            copy,
            setting.per_channel,
            setting.scheme.endswith("reduced"),
            weights,
            activations,
            TensorsData(CalibrationMethod.MinMax, bounds),
            [],
            kept,
            [*_LAYERS, *_CARRIERS],
            {},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    return _finish(quantizer.model.model, model)


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
        if node.op_type in _MOVES and node.input[0] in images:
            images.add(node.output[0])
        elif node.op_type == "Cast" and node.input[0] in images:
            ranges[node.output[0]] = (0.0, 255.0)
    return ranges


def _finish(quantised: onnx.ModelProto, model: onnx.ModelProto) -> bytes:
    """Take out what costs time and adds nothing, and whatever the quantizer noted of itself."""
    graph = quantised.graph
    _drop_casts(graph)
    _drop_rounding_of_scores(graph)
    _pool_floats_first(graph)
    used = {name for node in graph.node for name in node.input}
    constants = sorted((i for i in graph.initializer if i.name in used), key=lambda i: i.name)
    whole = helper.make_model(
        helper.make_graph(graph.node, model.graph.name, model.graph.input, model.graph.output, constants),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
    )
    for thing in (*whole.graph.node, *whole.graph.initializer):
        thing.doc_string = ""
        del thing.metadata_props[:]
    onnx.checker.check_model(whole, full_check=True)
    data: bytes = whole.SerializeToString(deterministic=True)
    return data


def _drop_casts(graph: onnx.GraphProto) -> None:
    """Cast, then quantise by scale 1 and zero 0, is no change of a uint8 tensor: read it as it is."""
    constants = {i.name: i for i in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    inputs = {i.name for i in graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    for node in [n for n in graph.node if n.op_type == "QuantizeLinear"]:
        cast = makers.get(node.input[0])
        if cast is None or cast.op_type != "Cast":
            continue
        source = cast.input[0]
        while source in makers and makers[source].op_type in _MOVES:
            source = makers[source].input[0]
        scale, zero = (constants[name] for name in node.input[1:3])
        if source in inputs and zero.data_type == TensorProto.UINT8 and _all(scale, 1) and _all(zero, 0):
            _read_instead(graph, node.output[0], cast.input[0])
            graph.node.remove(node)
    _drop_unread(graph)


def _drop_rounding_of_scores(graph: onnx.GraphProto) -> None:
    """Scores that only float nodes read are not rounded to 8 bits: a Gemm or MatMul can answer in float at once."""
    makers = {name: node for node in graph.node for name in node.output}
    for dequantize in [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in makers]:
        quantize = makers[dequantize.input[0]]
        if quantize.op_type != "QuantizeLinear":
            continue
        maker = makers.get(quantize.input[0])
        users = [n for n in graph.node if dequantize.output[0] in n.input]
        if (
            maker is not None
            and maker.op_type in _DENSE
            and sum(quantize.output[0] in n.input for n in graph.node) == 1
            and not any(n.op_type in (*_LAYERS, *_CARRIERS) for n in users)
        ):
            _read_instead(graph, dequantize.output[0], quantize.input[0])
    _drop_unread(graph)


def _pool_floats_first(graph: onnx.GraphProto) -> None:
    """A maximum of floats that is then quantised goes before its ReLU.

    Else onnxruntime quantises before the maximum, of four times as many values, which it then takes by a slow kernel.
    """
    quantised: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "QuantizeLinear" or (node.op_type in _MOVES and node.output[0] in quantised):
            quantised.add(node.input[0])
    for first, second in _pairs(graph, {output.name for output in graph.output}):
        if (first.op_type, second.op_type) == ("Relu", "MaxPool") and second.output[0] in quantised:
            _swap(first, second)


def _read_instead(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new


def _drop_unread(graph: onnx.GraphProto) -> None:
    outputs = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        read = {name for n in graph.node for name in n.input} | outputs
        if not read.intersection(node.output):
            graph.node.remove(node)


def _all(constant: onnx.TensorProto, value: float) -> bool:
    return bool((numpy_helper.to_array(constant) == value).all())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the quantizer prints, logs and warns of off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
