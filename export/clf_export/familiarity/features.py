"""A net's own features, read inside its graph: what each of its layers is given, averaged over the picture.

Letters in shapes: N images, D features, K classes.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from clf_export.errors import FamiliarityError
from clf_export.familiarity.nodes import constant
from clf_export.familiarity.outputs import named_outputs

FEATURES = "familiarity.features"
MOST_FEATURES = 1024  # beside the logits
_LAYERS = ("Conv", "Gemm", "MatMul")
_BATCH = 7  # images of a try; hardly a number of tokens
_SHAPING = ("Flatten", "Reshape", "ReduceMean", "Squeeze")


def with_features(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with its features, float32 [batch, D], as its second output, called `FEATURES`.

    They are the inputs of its layers with weights, but the first, each averaged over height and width; then its logits
    and the largest of these. Of a deep net it is every second, third … of these inputs, so that they are at most
    `MOST_FEATURES`. The last K + 1 features are the logits and their maximum.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    maps, vectors, _ = _inputs_of_layers(made)
    _append(made.graph, maps, [*vectors, logits_of(made.graph)])
    return made


def with_few_features(model: onnx.ModelProto) -> tuple[onnx.ModelProto, np.ndarray]:
    """A model with those of its features that cost little; and their columns in `with_features`, int64 [E].

    Of the maps of one size it is the last; of the vectors, the middle one, which also stands for the last map; and the
    largest logit, without the others. Measured: docs/familiarity.md.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    maps, vectors, shapes = _inputs_of_layers(made)
    few = list({shapes[name][1:]: name for name in maps}.values())
    if vectors and len(few) > 1:
        few.remove(maps[-1])
    middle = vectors[(len(vectors) - 1) // 2 :][:1]
    names = [*maps, *vectors]
    ends = np.cumsum([shapes[name][0] for name in names])
    columns = [end - shapes[name][0] + np.arange(shapes[name][0]) for name, end in zip(names, ends, strict=True)]
    kept = [place for name, place in zip(names, columns, strict=True) if name in few or name in middle]
    _append(made.graph, few, middle)
    return made, np.concatenate([*kept, [-1]]).astype(np.int64)


def with_pooled_maximum(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str, str, str]:
    """A model with the maxima of its last map's channels, as a direction; and the names of these and of two others.

    The direction is float32 [batch, C], of length 1. The others are what the layer that gives the logits is given,
    [batch, F], and the logits.
    Raises FamiliarityError if the net has no map, or no such layer.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    logits = logits_of(graph)
    makers = {name: node for node in graph.node for name in node.output}
    last = [name for name, shape in _shapes(made).items() if len(shape) == 3 and name in makers]
    if not last or logits not in makers or makers[logits].op_type not in _LAYERS:
        raise FamiliarityError("the net has no map before its last layer")
    order = [name for node in graph.node for name in node.output]
    graph.node.append(helper.make_node("GlobalMaxPool", [max(last, key=order.index)], ["familiarity.maximum"]))
    graph.node.append(helper.make_node("Flatten", ["familiarity.maximum"], ["familiarity.flat"]))
    axis, tiny = (
        constant(graph, f"familiarity.{what}", value)
        for what, value in (("axis", np.array([1], np.int64)), ("tiny", np.float32(1e-12)))
    )
    graph.node.append(helper.make_node("ReduceL2", ["familiarity.flat", axis], ["familiarity.length"], keepdims=1))
    graph.node.append(helper.make_node("Max", ["familiarity.length", tiny], ["familiarity.positive"]))
    graph.node.append(helper.make_node("Div", ["familiarity.flat", "familiarity.positive"], ["familiarity.direction"]))
    return made, "familiarity.direction", str(makers[logits].input[0]), logits


def logits_of(graph: onnx.GraphProto) -> str:
    """The input of the softmax that gives the graph's first output."""
    (softmax,) = (node for node in graph.node if graph.output[0].name in list(node.output))
    return str(softmax.input[0])


def _inputs_of_layers(model: onnx.ModelProto) -> tuple[list[str], list[str], dict[str, tuple[int, ...]]]:
    """The maps and the vectors that the layers are given, in order, and the shape of each without the batch."""
    shapes = _shapes(model)
    names = _some(_by_image(model, _given_to_layers(model.graph, shapes)), shapes)
    maps = [name for name in names if len(shapes[name]) == 3]
    return maps, [name for name in names if name not in maps], shapes


def _append(graph: onnx.GraphProto, maps: list[str], vectors: list[str]) -> None:
    """Append the output `FEATURES`: the means of maps, then vectors, then the largest logit."""
    parts = []
    if maps:
        pooled = [f"{name}_average" for name in maps]
        for name, average in zip(maps, pooled, strict=True):  # in every layout of an engine, unlike ReduceMean
            graph.node.append(helper.make_node("GlobalAveragePool", [name], [average]))
        if len(pooled) > 1:
            graph.node.append(helper.make_node("Concat", pooled, ["familiarity.averages"], axis=1))
        together = "familiarity.averages" if len(pooled) > 1 else pooled[0]
        graph.node.append(helper.make_node("Flatten", [together], ["familiarity.flat"]))
        parts.append("familiarity.flat")
    axis = constant(graph, "familiarity.axis", np.array([1], np.int64))
    graph.node.append(helper.make_node("ReduceMax", [logits_of(graph), axis], ["familiarity.largest"], keepdims=1))
    parts += [*vectors, "familiarity.largest"]
    graph.node.append(helper.make_node("Concat", parts, [FEATURES], axis=1))
    graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", "features"]))


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape, without the batch, of each float tensor of rank 2 or 4 whose axis 1 is known; 0 is unknown."""
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {}
    for value in inferred.graph.value_info:
        tensor = value.type.tensor_type
        dims = tensor.shape.dim
        if tensor.elem_type == TensorProto.FLOAT and len(dims) in (2, 4) and dims[1].dim_value > 0:
            shapes[value.name] = tuple(dim.dim_value for dim in dims[1:])
    return shapes


def _given_to_layers(graph: onnx.GraphProto, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """What the graph's layers with weights are given, in order, where it depends on the output of another.

    In place of a flattened map it is the map: its channels' means tell more of the picture's kind than single places.
    """
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    learned: set[str] = set()
    given: list[str] = []
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if all(name in constants for name in inputs):  # a weight in int8
            constants.update(node.output)
            continue
        behind = any(name in learned for name in inputs)
        layer = node.op_type in _LAYERS and any(name in constants for name in inputs)
        if layer and behind:
            names = (_map_of(name, makers, shapes) for name in inputs[:2] if name in learned)
            given += [name for name in names if name in shapes and name not in given]
        if layer or behind:
            learned.update(node.output)
    return given


def _by_image(model: onnx.ModelProto, names: list[str]) -> list[str]:
    """Those of the tensors that have one row for each image of a batch; of tokens, say, there may be more."""
    if not names:
        return []
    (image,) = model.graph.input
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim][1:]
    dtype = helper.tensor_dtype_to_np_dtype(image.type.tensor_type.elem_type)
    found = named_outputs(model, names, np.zeros((_BATCH, *shape), dtype))
    return [name for name, rows in zip(names, found, strict=True) if len(rows) == _BATCH]


def _map_of(name: str, makers: dict[str, onnx.NodeProto], shapes: dict[str, tuple[int, ...]]) -> str:
    """The map [N, C, H, W] that was pooled and flattened to a tensor, if it has other channels; else the tensor."""
    found = name
    while found in makers and makers[found].op_type in _SHAPING and len(shapes.get(found, ())) != 3:
        found = makers[found].input[0]
    is_map = len(shapes.get(found, ())) == 3
    return found if is_map and shapes.get(name) != shapes[found][:1] else name


def _some(names: list[str], shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Every name, or every second, third … counted from the last, so that they have at most `MOST_FEATURES`."""
    for step in range(1, len(names) + 1):
        some = names[::-1][::step][::-1]
        if sum(shapes[name][0] for name in some) <= MOST_FEATURES:
            return some
    return [name for name in names[-1:] if shapes[name][0] <= MOST_FEATURES]
