"""The graph of an exported file with the inputs and outputs that other tools expect; everything between is kept.

Letters in shapes: N images, C channels, H height, W width, K classes.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clf_export.delivery.original import Original
from clf_export.errors import DeliveryError
from clf_runtime.model.metadata import PREFIX

RANGES = {(0.0, 255.0): 255.0, (0.0, 1.0): 1.0}  # the highest value of images that are pictures
_SMALLEST = 1e-30  # a probability whose logarithm is finite


def refuse_no_picture(original: Original, tool: str, channels: Sequence[int] = (1, 3)) -> None:
    """Raise DeliveryError unless the images of a file are pictures [C, H, W] in 0..1 or 0..255."""
    card = original.card
    if card.input == "photo":
        raise DeliveryError(f"{original.path}: takes photos of any size, and {tool} does not: export it as a tensor")
    if card.layout != "NCHW" or card.value_range not in RANGES or card.image_shape[0] not in channels:
        low, high = card.value_range
        kind = f"{card.dtype} {list(card.input_shape)} in {low:g}..{high:g}"
        raise DeliveryError(f"{original.path}: takes {kind}, and {tool} pictures of {channels[-1]} channels only")


def refuse_int8(original: Original, tool: str, advice: str) -> None:
    """Raise DeliveryError for an int8 file."""
    if original.card.precision == "int8":
        raise DeliveryError(f"{original.path}: is int8, which {tool} converts otherwise: {advice}")


def pixels_as_floats(model: onnx.ModelProto, original: Original, high: float, name: str) -> None:
    """Let the input be `name`, float32 [N, C, H, W] in 0..`high`, instead of the images as the card has them.

    A model of uint8 images rounds to the nearest of their values first, so that it answers exactly as before.
    """
    card, first = original.card, model.graph.input[0]
    taken, own = first.name, RANGES[card.value_range]
    nodes, source = [], name
    if own != high:
        scale = numpy_helper.from_array(np.array(own / high, np.float32), "delivery_scale")
        model.graph.initializer.append(scale)
        nodes.append(helper.make_node("Mul", [source, scale.name], ["delivery_scaled"]))
        source = "delivery_scaled"
    if card.dtype == "uint8":
        nodes.append(helper.make_node("Round", [source], ["delivery_rounded"]))
        nodes.append(helper.make_node("Cast", ["delivery_rounded"], ["delivery_image"], to=TensorProto.UINT8))
        source = "delivery_image"
    if name == taken and nodes:
        raise AssertionError("the input of an exported file is never called as a tool calls it")
    first.name, first.type.tensor_type.elem_type = name, TensorProto.FLOAT
    _renamed(model, taken, source)
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def floats_all_through(model: onnx.ModelProto) -> None:
    """Let a uint8 input be float32 with the same values, and no node cast it: for tools that know floats only."""
    first = model.graph.input[0]
    if first.type.tensor_type.elem_type == TensorProto.FLOAT:
        return
    first.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in [node for node in model.graph.node if node.op_type == "Cast"]:
        if any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute):
            model.graph.node.remove(node)
            _renamed(model, node.output[0], node.input[0])


def logits_instead(model: onnx.ModelProto, name: str) -> None:
    """Let the first output be `name`: what its softmax is taken of, or without a softmax its logarithm."""
    output = model.graph.output[0]
    last = next(node for node in model.graph.node if output.name in node.output)
    axis = next((a.i for a in last.attribute if a.name == "axis"), -1)
    users = [node for node in model.graph.node if output.name in node.input]
    if last.op_type == "Softmax" and axis in (1, -1) and not users:
        maker = next(node for node in model.graph.node if last.input[0] in node.output)
        model.graph.node.remove(last)
        _renamed(model, maker.output[0], name)
        maker.output[:] = [name if out == last.input[0] else out for out in maker.output]
    else:
        least = numpy_helper.from_array(np.array(_SMALLEST, np.float32), "delivery_least")
        model.graph.initializer.append(least)
        model.graph.node.append(helper.make_node("Max", [output.name, least.name], ["delivery_positive"]))
        model.graph.node.append(helper.make_node("Log", ["delivery_positive"], [name]))
    output.name = name


def first_output_only(model: onnx.ModelProto) -> None:
    """Remove every output but the first, and the nodes and constants that only they needed."""
    del model.graph.output[1:]
    needed, kept = {model.graph.output[0].name}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    constants = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)


def one_image_each(model: onnx.ModelProto) -> None:
    """Fix the batch of inputs and outputs to one image."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def rows_one_by_one(model: onnx.ModelProto) -> None:
    """Undo `pair_rows` of the export's graph, which lets a Conv compute two rows at once for onnxruntime's sake.

    ncnn loses the axis that the pairs are folded on, and LiteRT's file is larger by them. MNN keeps them: it computes a
    Conv without pairs less exactly.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for reshape in [node for node in graph.node if node.op_type == "Reshape"]:
        shape = constants.get(reshape.input[1])
        [mean] = [node for node in graph.node if reshape.output[0] in node.input] or [reshape]
        if shape is None or not shape.name.startswith("row_pairs") or mean.op_type != "ReduceMean":
            continue
        pool = makers[reshape.input[0]]
        conv = makers[makers[pool.input[0]].input[0]]  # before a Relu
        for name in conv.input[1:]:
            paired = numpy_helper.to_array(constants[name])
            first = paired[: len(paired) // 2]
            constants[name].CopyFrom(numpy_helper.from_array(first[:, :, :-1] if first.ndim == 4 else first, name))
        height, width = constants[conv.input[1]].dims[2:]
        _set_sizes(conv, kernel_shape=[height, width], strides=[1, _sizes(conv, "strides")[1]])
        _set_sizes(pool, kernel_shape=[2, 2], strides=[2, 2])
        mean.CopyFrom(helper.make_node("Flatten", [reshape.input[0]], list(mean.output), mean.name, axis=1))
        graph.node.remove(reshape)


def _sizes(node: onnx.NodeProto, name: str) -> list[int]:
    return next(list(a.ints) for a in node.attribute if a.name == name)


def _set_sizes(node: onnx.NodeProto, **sizes: list[int]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in sizes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, values) for name, values in sizes.items())])


def to_convert(
    original: Original,
    tool: str,
    advice: str,
    *,
    channels: Sequence[int] = (1, 3),
    one_image: bool = False,
    single_rows: bool = False,
) -> bytes:
    """The graph as converters take it: one output, float32 all through.

    With `one_image` its batch is of one; with `single_rows` a Conv computes no two rows at once.

    Raises DeliveryError, which names the `tool`, for int8 (with an `advice`), or another input than pixels.
    """
    refuse_no_picture(original, tool, channels)
    refuse_int8(original, tool, advice)
    model = original.graph
    first_output_only(model)
    floats_all_through(model)
    if single_rows:
        rows_one_by_one(model)
    if one_image:
        one_image_each(model)
    return to_bytes(model, original)


def to_bytes(model: onnx.ModelProto, original: Original, more: dict[str, str] | None = None) -> bytes:
    """The bytes of a reworked model, without our card, which is of the original, and with its SHA-256.

    Raises DeliveryError if the model is not valid ONNX.
    """
    theirs = {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith(PREFIX)}
    del model.metadata_props[:]
    helper.set_model_props(model, {**theirs, "source_sha256": original.sha256, **(more or {})})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DeliveryError(f"{original.path}: cannot be changed so: {str(error).splitlines()[0]}") from None
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _renamed(model: onnx.ModelProto, old: str, new: str) -> None:
    """Let every node that takes `old` take `new`."""
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
