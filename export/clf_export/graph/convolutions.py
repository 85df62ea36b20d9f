"""Rules that make convolutions cheaper, or faster in practice, with the same outputs: see docs/graphs.md.

A rule looks at one node, and returns whether it changed the graph.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from clf_export.graph.nodes import (
    add_constant,
    become,
    constant,
    integers,
    is_flatten,
    maker,
    pads_by_size,
    set_constant,
    sizes_of,
    sole_user,
)

_WINDOWS = ("Conv", "MaxPool", "AveragePool")
_PLACEWISE = ("Cast", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSwish", "HardSigmoid", "Elu", "Selu")
_WORTH = 0.1  # the fraction of the convolutions' work that cropping must save, since the Slice has a cost too
_BLOCK = 16  # output channels that keep vector units busy; 8 use them half


def relu_before_pool(node: ir.Node) -> bool:
    """Conv, MaxPool, Relu → Conv, Relu, MaxPool: the same values, and engines fuse Conv and Relu."""
    if node.op_type != "MaxPool" or len(node.outputs) != 1:
        return False
    before, after = maker(node.inputs[0]), sole_user(node.outputs[0])
    if before is None or before.op_type != "Conv" or after is None or after.op_type != "Relu":
        return False
    node.op_type, after.op_type = "Relu", "MaxPool"
    node.name, after.name = after.name, node.name
    after.attributes.update(node.attributes)
    node.attributes.clear()
    return True


def crop_unused_border(node: ir.Node) -> bool:
    """Crop the last rows and columns of the image that no window uses, where poolings round the size down.

    Follows the chain of convolutions and poolings from the graph's input, as long as each value has one consumer. A
    smaller image gives no additional windows, and no window that is used is cropped.
    """
    image = node.inputs[0] if node.inputs else None
    if image is None or not image.is_graph_input() or node.op_type == "Slice":
        return False
    chain = _chain(node)
    sizes = [_places(step.inputs[0]) for step in chain]
    end = _places(chain[-1].outputs[0]) if chain else None
    if end is None or any(size is None for size in sizes):
        return False
    need = [list(end)]
    for step, full in zip(chain[::-1], sizes[::-1], strict=True):
        assert full is not None
        need.insert(0, [_reach(step, axis, wanted, full[axis]) for axis, wanted in enumerate(need[0])])
    before = after = 0
    for step, inside, wanted, full in zip(chain, need[:-1], need[1:], sizes, strict=True):
        made = _places(step.outputs[0])
        if step.op_type == "Conv" and made is not None and full is not None:
            work = math.prod(sizes_of(step.inputs[1]) or ())
            left = [m if i == f else w for m, i, f, w in zip(made, inside, full, wanted, strict=True)]
            before, after = before + work * math.prod(made), after + work * math.prod(left)
    if after >= (1 - _WORTH) * before:
        return False
    ends = np.array(need[0], np.int64)
    constants = [
        add_constant(node, values, f"crop_{what}")
        for what, values in (("starts", np.zeros_like(ends)), ("ends", ends), ("axes", np.arange(2, 2 + len(ends))))
    ]
    crop = ir.node("Slice", [image, *constants], name="crop")
    crop.outputs[0].name = f"{image.name}_cropped"
    node.prepend(crop)
    node.replace_input_with(0, crop.outputs[0])
    return True


def pair_rows(node: ir.Node) -> bool:
    """Let a Conv of few channels, followed by Relu, 2x2 AveragePool and Flatten, compute two output rows at once.

    The second row becomes additional channels: twice as many come out of one window that is a row taller and moves two
    rows at a time. The pooling then averages within a row, and Reshape and ReduceMean, in place of Flatten, across two.
    """
    weights = constant(node.inputs[1]) if node.op_type == "Conv" else None
    steps = _followers(node, ("Relu", "AveragePool", "Flatten"))
    if weights is None or steps is None or not _pairable(node, weights) or not _halves(steps[1]):
        return False
    biased = len(node.inputs) > 2 and node.inputs[2] is not None
    bias = constant(node.inputs[2]) if biased else None
    if (biased and bias is None) or sole_user(node.inputs[1]) is None:
        return False
    _, pool, flatten = steps
    flat = sizes_of(flatten.outputs[0])
    if flat is None or not is_flatten(flatten):
        return False
    count, inside, height, width = weights.shape
    pairs = np.zeros((2, count, inside, height + 1, width), np.float32)
    pairs[0, :, :, :height] = weights
    pairs[1, :, :, 1:] = weights
    set_constant(node, 1, pairs.reshape(2 * count, inside, height + 1, width))
    if bias is not None:
        set_constant(node, 2, np.tile(bias, 2))
    node.attributes.add(ir.AttrInt64s("kernel_shape", [height + 1, width]))
    node.attributes.add(ir.AttrInt64s("strides", [2, integers(node, "strides", (1, 1))[1]]))
    for name in ("kernel_shape", "strides"):
        pool.attributes.add(ir.AttrInt64s(name, [1, 2]))
    shape = add_constant(node, np.array([0, 2, flat[0]], np.int64), "row_pairs")
    axis = add_constant(node, np.array([1], np.int64), "row_axis")
    rows = ir.node("Reshape", [flatten.inputs[0], shape], name=f"{flatten.name}_rows")
    rows.outputs[0].name = f"{flatten.outputs[0].name}_rows"
    flatten.prepend(rows)
    become(flatten, "ReduceMean", [rows.outputs[0], axis], keepdims=0)
    return True


def _pairable(conv: ir.Node, weights: np.ndarray) -> bool:
    places = _places(conv.outputs[0])
    return (
        weights.ndim == 4
        and weights.dtype == np.float32
        and 2 * len(weights) <= _BLOCK
        and not pads_by_size(conv)
        and conv.attributes.get_int("group", 1) == 1
        and integers(conv, "dilations", (1, 1)) == [1, 1]
        and integers(conv, "strides", (1, 1))[0] == 1
        and integers(conv, "pads", (0,) * 4)[::2] == [0, 0]
        and places is not None
        and places[0] >= 2
    )


def _halves(pool: ir.Node) -> bool:
    """Whether a pooling has 2x2 windows that neither overlap nor reach beyond the input."""
    return (
        integers(pool, "kernel_shape", ()) == [2, 2]
        and integers(pool, "strides", (1, 1)) == [2, 2]
        and not any(integers(pool, "pads", ()))
        and not pads_by_size(pool)
        and not pool.attributes.get_int("ceil_mode", 0)
        and integers(pool, "dilations", (1, 1)) == [1, 1]
    )


def _followers(node: ir.Node, kinds: Sequence[str]) -> list[ir.Node] | None:
    """The consecutive nodes of these types after `node`, each the only consumer of the one before; else None."""
    found = [node]
    for kind in kinds:
        user = sole_user(found[-1].outputs[0])
        if user is None or user.op_type != kind or user.inputs[0] is not found[-1].outputs[0]:
            return None
        found.append(user)
    return found[1:]


def _chain(first: ir.Node) -> list[ir.Node]:
    """The windowed and elementwise nodes from the image on, each the only consumer of the value before it."""
    steps: list[ir.Node] = []
    value = first.inputs[0]
    while True:
        user = sole_user(value)
        if user is None or user.inputs[0] is not value or not (user.op_type in _PLACEWISE or _croppable(user)):
            return steps
        steps.append(user)
        value = user.outputs[0]


def _croppable(node: ir.Node) -> bool:
    """Whether the positions of a node's windows are independent of the size of its input."""
    return node.op_type in _WINDOWS and len(node.outputs) == 1 and not pads_by_size(node)


def _places(value: ir.Value | None) -> tuple[int, ...] | None:
    """The spatial sizes (height and width, or others) of a value [batch, channels, ...]."""
    sizes = sizes_of(value)
    return sizes[1:] if sizes is not None and len(sizes) > 1 else None


def _reach(node: ir.Node, axis: int, wanted: int, full: int) -> int:
    """How much of an input of size `full` the first `wanted` windows of a node use along an axis.

    Windows that reach into the padding at the end need the whole input, so that the padding stays in place.
    """
    if node.op_type in _PLACEWISE:
        return wanted
    kernel = integers(node, "kernel_shape", (sizes_of(node.inputs[1]) or ())[1:] if node.op_type == "Conv" else ())
    ones = [1] * len(kernel)
    pads = integers(node, "pads", [0] * 2 * len(kernel))
    stride, dilation = (integers(node, name, ones)[axis] for name in ("strides", "dilations"))
    return min(full, (wanted - 1) * stride + (kernel[axis] - 1) * dilation + 1 - pads[axis])
