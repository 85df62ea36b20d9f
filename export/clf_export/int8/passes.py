"""The passes over a graph before and after it is quantised."""

import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
DENSE = ("Gemm", "MatMul")
MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice")  # leave values as they are
# Operators that pass 8-bit values on between layers. All others stay in float: softmax, normalisation, and average
# pooling, whose float kernel is ten times as fast as onnxruntime's int8 one.
CARRIERS = ("Relu", "Clip", "MaxPool", "Add", "Concat", "Pad", *MOVES)


def before_quantisation(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float model with bit-identical outputs, prepared for the quantizer.

    - A cast of the image moves behind operators that only rearrange values, so that the first layer can take uint8.
    - Every node has a name, every tensor a type as far as it can be inferred. Metadata is left out.
    """
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    del prepared.metadata_props[:]
    graph = prepared.graph
    outputs = {output.name for output in graph.output}
    for _ in graph.node:  # a cast may pass several
        for first, second in _pairs(graph, outputs):
            if first.op_type == "Cast" and second.op_type in MOVES and second.input[0] == first.output[0]:
                _swap(first, second)
                break
        else:
            break
    for i, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{i}"
    return onnx.shape_inference.infer_shapes(prepared, data_prop=True)


def _pairs(graph: onnx.GraphProto, outputs: set[str]) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Nodes with the only consumer of their first output, where that is not an output of the graph."""
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
    """Exchange two consecutive nodes; tensors keep their names."""
    before, after = onnx.NodeProto(), onnx.NodeProto()
    before.CopyFrom(second)
    after.CopyFrom(first)
    before.input[0], after.input[0] = first.input[0], first.output[0]
    before.output[0], after.output[0] = first.output[0], second.output[0]
    first.CopyFrom(before)
    second.CopyFrom(after)


def after_quantisation(quantised: onnx.ModelProto, model: onnx.ModelProto) -> bytes:
    """Remove nodes that cost time for nothing, and the quantizer's metadata."""
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
    """A Cast followed by quantisation with scale 1 and zero point 0 leaves a uint8 tensor as it is: bypass both."""
    constants = {i.name: i for i in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    inputs = {i.name for i in graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    for node in [n for n in graph.node if n.op_type == "QuantizeLinear"]:
        cast = makers.get(node.input[0])
        if cast is None or cast.op_type != "Cast":
            continue
        source = cast.input[0]
        while source in makers and makers[source].op_type in MOVES:
            source = makers[source].input[0]
        scale, zero = (constants[name] for name in node.input[1:3])
        if source in inputs and zero.data_type == TensorProto.UINT8 and _all(scale, 1) and _all(zero, 0):
            _read_instead(graph, node.output[0], cast.input[0])
            graph.node.remove(node)
    _drop_unread(graph)


def _drop_rounding_of_scores(graph: onnx.GraphProto) -> None:
    """Do not round scores to 8 bits that only float nodes consume: a Gemm or MatMul can give floats directly."""
    makers = {name: node for node in graph.node for name in node.output}
    for dequantize in [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in makers]:
        quantize = makers[dequantize.input[0]]
        if quantize.op_type != "QuantizeLinear":
            continue
        maker = makers.get(quantize.input[0])
        users = [n for n in graph.node if dequantize.output[0] in n.input]
        if (
            maker is not None
            and maker.op_type in DENSE
            and sum(quantize.output[0] in n.input for n in graph.node) == 1
            and not any(n.op_type in (*LAYERS, *CARRIERS) for n in users)
        ):
            _read_instead(graph, dequantize.output[0], quantize.input[0])
    _drop_unread(graph)


def _pool_floats_first(graph: onnx.GraphProto) -> None:
    """Put a float MaxPool whose output is quantised before its ReLU.

    Otherwise onnxruntime quantises before the pooling, four times as many values, and pools them by a slow kernel.
    """
    quantised: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "QuantizeLinear" or (node.op_type in MOVES and node.output[0] in quantised):
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
