"""A foreign graph brought to what every clf-edge model has: opset 18, IR 8, one input, one output, any batch size."""

import onnx
import onnx.inliner
from onnx import TensorProto, helper

from clf_export.adoption.original import Original
from clf_export.errors import AdoptionError
from clf_export.graph.library_calls import silenced
from clf_export.graph.translate import IR_VERSION, OPSET
from clf_runtime.errors import brief

_SOFTMAX = ("Softmax", "LogSoftmax")
PREFIX = "net."  # of every name in the foreign graph, so that none is ours


def lower(original: Original, shape: tuple[int, ...], output_rank: int) -> onnx.ModelProto:
    """The original's graph with the input `net.<name>` [batch, *shape] and one output, of opset 18 and IR 8.

    The output has so many axes. Descriptions, local functions, unused parts and other outputs are left out.
    Raises AdoptionError if it cannot be converted.
    """
    where = original.path
    model = onnx.ModelProto()
    model.CopyFrom(original.model)
    scores = original.engine.outputs[original.output].name
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        _keep_only(model, original.input.name, scores)
        _set_batch(model, shape, original.batch)
        with silenced():
            if original.opset != OPSET and _has_own_operators(model):
                model = onnx.version_converter.convert_version(model, OPSET)
        if output_rank == 2:
            _simplify_softmax(model.graph)
        model = onnx.compose.add_prefix(model, PREFIX)
    except Exception as error:  # of onnx's converters, which raise whatever they met
        raise AdoptionError(
            f"{where}: operator set {original.opset} cannot be converted to {OPSET} ({brief(error, 160)}): export it "
            f"with opset {OPSET}"
        ) from None
    others = {e.domain: e.version for e in model.opset_import if e.domain and _uses(model, e.domain)}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in {"": OPSET, **others}.items())
    model.ir_version = IR_VERSION
    return model


def _keep_only(model: onnx.ModelProto, image: str, scores: str) -> None:
    """Keep the nodes and weights that the scores depend on, without descriptions and metadata."""
    graph = model.graph
    needed, kept = {scores}, []
    for node in reversed(graph.node):  # which are in topological order
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name)
            kept.append(node)
    for thing in (model, graph, *kept, *graph.initializer):
        thing.doc_string = ""
        del thing.metadata_props[:]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    weights = [t for t in graph.initializer if t.name in needed]
    taken = next(value for value in graph.input if value.name == image)
    given = next(value for value in graph.output if value.name == scores)
    model.graph.CopyFrom(helper.make_graph(nodes, "clf-edge", [taken], [given], weights))
    del model.training_info[:], model.functions[:]


def _simplify_softmax(graph: onnx.GraphProto) -> None:
    """Undo what the conversion from opset 12 or less makes of a last softmax: it flattens, which two axes do not need.

    Shape(x), Flatten(x), Softmax, Reshape to that shape: for x [batch, classes] this is the softmax of x.
    """
    makers = {name: node for node in graph.node for name in node.output}
    last = graph.output[0].name
    while last in makers and makers[last].op_type == "Identity":
        last = makers[last].input[0]
    if last not in makers or makers[last].op_type != "Reshape":
        return
    softmax, sizes = (makers.get(name) for name in makers[last].input)
    if softmax is None or sizes is None or softmax.op_type not in _SOFTMAX:
        return
    flatten = makers.get(softmax.input[0])
    if flatten is None or flatten.op_type != "Flatten" or sizes.op_type != "Shape":
        return
    if sizes.input[0] == flatten.input[0] and all(a.i == 1 for a in flatten.attribute):
        makers[last].CopyFrom(onnx.helper.make_node(softmax.op_type, flatten.input, [last], axis=-1))


def _has_own_operators(model: onnx.ModelProto) -> bool:
    return any(not node.domain for node in model.graph.node)


def _uses(model: onnx.ModelProto, domain: str) -> bool:
    return any(node.domain == domain for node in model.graph.node)


def _set_batch(model: onnx.ModelProto, shape: tuple[int, ...], batch: int | None) -> None:
    """Give the input any batch size; where it had one, shapes that repeat it, in constants, are freed of it too."""
    graph = model.graph
    sizes = onnx.shape_inference.infer_shapes(model, data_prop=True) if batch is not None else None
    kind = graph.input[0].type.tensor_type.elem_type
    graph.input[0].CopyFrom(helper.make_tensor_value_info(graph.input[0].name, kind, ["batch", *shape]))
    output = graph.output[0]
    output.CopyFrom(helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, None))
    if sizes is None:
        return
    found = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in _values(sizes.graph)}
    constants = {t.name: t for t in graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute}
    for place, node in enumerate(list(graph.node)):
        given = found.get(node.output[0]) if node.output else None
        if node.op_type == "Reshape" and node.input[1] in constants and given and given[0] == batch and all(given):
            name = f"{node.output[0]}.any_batch"
            graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(given)], [-1, *given[1:]]))
            graph.node[place].input[1] = name


def _values(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [*graph.value_info, *graph.output]
