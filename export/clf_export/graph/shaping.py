"""Rules that give the same values from less work, or from work that engines do faster. Figures: docs/graphs.md.

A rule looks at one node, and says whether it changed the graph.
"""

import math
from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, helper

from clf_export.graph.editing import Graph, attribute, features, integers, is_flatten, set_attributes

_WINDOWS = ("Conv", "MaxPool", "AveragePool")
_PLACEWISE = ("Cast", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSwish", "HardSigmoid", "Elu", "Selu")
_WORTH = 0.1  # the share of the convolutions' work that cropping must save: the Slice costs something too
_BLOCK = 16  # output channels that vector units like to see at once; half of them leave half the work undone


def relu_before_pool(graph: Graph, node: NodeProto) -> bool:
    """Conv, MaxPool, Relu → Conv, Relu, MaxPool: the same values, and engines do Conv and Relu in one pass."""
    if node.op_type != "MaxPool" or len(node.output) != 1:
        return False
    before, after = graph.producer(node.input[0]), graph.sole_user(node.output[0])
    if before is None or before.op_type != "Conv" or graph.sole_user(node.input[0]) is None:
        return False
    if after is None or after.op_type != "Relu":
        return False
    node.op_type, after.op_type = "Relu", "MaxPool"
    node.name, after.name = after.name, node.name
    after.attribute.extend(node.attribute)
    del node.attribute[:]
    return True


def crop_unused_border(graph: Graph, node: NodeProto) -> bool:
    """Cut from the image the last rows and columns that no window reaches, where poolings round the size down.

    Works along the chain of convolutions and poolings from the graph's input, as long as each value has one user. A
    shorter image cannot give more windows than the whole one did, and none of the windows that are used is cut.
    """
    if node.input[0] != graph.proto.input[0].name or node.op_type == "Slice":
        return False
    chain = _chain(graph, node)
    sizes = [_places(graph, step.input[0]) for step in chain]
    end = _places(graph, chain[-1].output[0]) if chain else None
    if end is None or any(size is None for size in sizes):
        return False
    need = [list(end)]
    for step, full in zip(chain[::-1], sizes[::-1], strict=True):
        assert full is not None
        need.insert(0, [_reach(graph, step, axis, wanted, full[axis]) for axis, wanted in enumerate(need[0])])
    before = after = 0
    for step, inside, wanted, full in zip(chain, need[:-1], need[1:], sizes, strict=True):
        made = _places(graph, step.output[0])
        if step.op_type == "Conv" and made is not None and full is not None:
            work = math.prod(features((None, *(graph.shape(step.input[1]) or ()))) or ())
            left = [m if i == f else w for m, i, f, w in zip(made, inside, full, wanted, strict=True)]
            before, after = before + work * math.prod(made), after + work * math.prod(left)
    if after >= (1 - _WORTH) * before:
        return False
    image, cropped = node.input[0], f"{node.input[0]}_cropped"
    ends = np.array(need[0], np.int64)
    names = [
        graph.add(values, f"crop_{what}")
        for what, values in (("starts", np.zeros_like(ends)), ("ends", ends), ("axes", np.arange(2, 2 + len(ends))))
    ]
    node.input[0] = cropped
    graph.insert(0, helper.make_node("Slice", [image, *names], [cropped], name="crop"))
    return True


def pair_rows(graph: Graph, node: NodeProto) -> bool:
    """Let a Conv of few channels, with Relu, AveragePool of 2x2 and Flatten behind it, make two rows of places at once.

    The second row becomes channels of its own, so that twice as many come out of one, taller window that moves two rows
    at a time. The pooling then averages along a row only, and Reshape and ReduceMean, in place of Flatten, across two.
    """
    weights = graph.constant(node.input[1]) if node.op_type == "Conv" else None
    bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    steps = _followers(graph, node, ("Relu", "AveragePool", "Flatten"))
    if weights is None or steps is None or not _pairable(graph, node, weights) or not _halves(steps[1]):
        return False
    if (bias is None) != (len(node.input) < 3 or not node.input[2]) or graph.sole_user(node.input[1]) is None:
        return False
    _, pool, flatten = steps
    flat = features(graph.shape(flatten.output[0]))
    if flat is None or not is_flatten(graph, flatten):
        return False
    count, inside, height, width = weights.shape
    pairs = np.zeros((2, count, inside, height + 1, width), np.float32)
    pairs[0, :, :, :height] = weights
    pairs[1, :, :, 1:] = weights
    graph.give(node, 1, pairs.reshape(2 * count, inside, height + 1, width))
    if bias is not None:
        graph.give(node, 2, np.tile(bias, 2))
    set_attributes(node, kernel_shape=[height + 1, width], strides=[2, integers(node, "strides", (1, 1))[1]])
    set_attributes(pool, kernel_shape=[1, 2], strides=[1, 2])
    shape = graph.add(np.array([0, 2, flat[0]], np.int64), "row_pairs")
    axis = graph.add(np.array([1], np.int64), "row_axis")
    result, rows = flatten.output[0], f"{flatten.output[0]}_rows"
    flatten.CopyFrom(helper.make_node("Reshape", [flatten.input[0], shape], [rows], name=flatten.name))
    mean = helper.make_node("ReduceMean", [rows, axis], [result], name=f"{flatten.name}_mean", keepdims=0)
    graph.insert(list(graph.nodes).index(flatten) + 1, mean)
    return True


def _pairable(graph: Graph, conv: NodeProto, weights: np.ndarray) -> bool:
    places = _places(graph, conv.output[0])
    return (
        weights.ndim == 4
        and weights.dtype == np.float32
        and 2 * len(weights) <= _BLOCK
        and attribute(conv, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
        and attribute(conv, "group", 1) == 1
        and integers(conv, "dilations", (1, 1)) == [1, 1]
        and integers(conv, "strides", (1, 1))[0] == 1
        and integers(conv, "pads", (0,) * 4)[::2] == [0, 0]
        and places is not None
        and places[0] >= 2
    )


def _halves(pool: NodeProto) -> bool:
    """Whether a pooling takes windows of 2x2 that neither overlap nor reach beyond the input."""
    return (
        integers(pool, "kernel_shape", ()) == [2, 2]
        and integers(pool, "strides", (1, 1)) == [2, 2]
        and not any(integers(pool, "pads", ()))
        and attribute(pool, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
        and not attribute(pool, "ceil_mode", 0)
        and integers(pool, "dilations", (1, 1)) == [1, 1]
    )


def _followers(graph: Graph, node: NodeProto, kinds: Sequence[str]) -> list[NodeProto] | None:
    """The nodes of these kinds that follow one another behind `node`, each the only user of the one before."""
    found: list[NodeProto] = []
    for kind in kinds:
        user = graph.sole_user((found[-1] if found else node).output[0])
        if user is None or user.op_type != kind or user.input[0] != (found[-1] if found else node).output[0]:
            return None
        found.append(user)
    return found


def _chain(graph: Graph, first: NodeProto) -> list[NodeProto]:
    """The windowed and place-by-place nodes from the image on, each the only user of the value before it."""
    steps: list[NodeProto] = []
    name = first.input[0]
    while True:
        user = graph.sole_user(name)
        if user is None or user.input[0] != name or not (user.op_type in _PLACEWISE or _croppable(user)):
            return steps
        steps.append(user)
        name = user.output[0]


def _croppable(node: NodeProto) -> bool:
    """Whether where a node's windows begin does not depend on where its input ends."""
    return (
        node.op_type in _WINDOWS
        and len(node.output) == 1
        and attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID")
    )


def _places(graph: Graph, name: str) -> tuple[int, ...] | None:
    """Height and width (or however many sizes) of a value [batch, channels, ...]."""
    sizes = features(graph.shape(name))
    return sizes[1:] if sizes is not None and len(sizes) > 1 else None


def _reach(graph: Graph, node: NodeProto, axis: int, wanted: int, full: int) -> int:
    """How far into an input of size `full` the first `wanted` windows of a node reach along an axis.

    Windows that reach into the padding behind the input need all of it, so that the padding stays where it is.
    """
    if node.op_type in _PLACEWISE:
        return wanted
    weights = graph.shape(node.input[1]) if node.op_type == "Conv" else None
    kernel = integers(node, "kernel_shape", [size or 0 for size in weights[2:]] if weights else ())
    ones = [1] * len(kernel)
    pads = integers(node, "pads", [0] * 2 * len(kernel))
    stride, dilation = (integers(node, name, ones)[axis] for name in ("strides", "dilations"))
    return min(full, (wanted - 1) * stride + (kernel[axis] - 1) * dilation + 1 - pads[axis])
