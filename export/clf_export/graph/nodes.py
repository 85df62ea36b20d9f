"""Queries and edits of nodes and values in an ONNX graph (onnx_ir), for the rewriting rules."""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


def constant(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The array of an initializer; None for any other value."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value.const_value.numpy()


def sole_user(value: ir.Value | None) -> ir.Node | None:
    """The node that uses a value, if exactly one does, once, and the value is not an output of the graph."""
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return None
    return next(iter(value.uses())).node


def maker(value: ir.Value | None) -> ir.Node | None:
    """The producer of a value, if exactly one node uses the value."""
    return value.producer() if value is not None and sole_user(value) is not None else None


def sizes_of(value: ir.Value | None) -> tuple[int, ...] | None:
    """The sizes of a value after its first axis, the batch; None if any is unknown."""
    shape = None if value is None else value.shape
    if not shape or not all(isinstance(size, int) for size in shape[1:]):
        return None
    return tuple(size for size in shape[1:] if isinstance(size, int))


def integers(node: ir.Node, name: str, default: Sequence[int]) -> list[int]:
    """An attribute that is a list of integers."""
    return list(node.attributes.get_ints(name, default))


def pads_by_size(node: ir.Node) -> bool:
    """Whether a node's padding depends on the size of its input (auto_pad), not on its attribute `pads`."""
    return node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")


def is_flatten(node: ir.Node) -> bool:
    """Whether a Flatten or Reshape gives [batch, everything else] for a value that begins with the batch."""
    sizes = sizes_of(node.inputs[0])
    if sizes is None:
        return False
    if node.op_type == "Flatten":
        return node.attributes.get_int("axis", 1) == 1
    wanted = constant(node.inputs[1]) if node.op_type == "Reshape" else None
    count = math.prod(sizes)
    flat = [[-1, count]] if node.attributes.get_int("allowzero", 0) else [[-1, count], [0, count], [0, -1]]
    return wanted is not None and wanted.tolist() in flat


def become(node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], **attributes: int) -> None:
    """Replace a node in place by one of another type, with the same output."""
    node.op_type = op_type
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)
    node.attributes.clear()
    for name, number in attributes.items():
        node.attributes.add(ir.AttrInt64(name, number))


def add_constant(node: ir.Node, values: NDArray[np.generic], name: str) -> ir.Value:
    """Add an initializer to the graph of `node`, named `name`, with a number if that is taken."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    taken = {*graph.initializers, *(v.name for v in graph.inputs), *(v.name for n in graph for v in n.outputs)}
    stem, count = name, 1
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    added = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(values), name=name))
    graph.register_initializer(added)
    return added


def set_constant(node: ir.Node, index: int, values: NDArray[np.generic]) -> None:
    """Give a node a new constant as its input `index`; other users of the old one keep it."""
    old = node.inputs[index]
    assert old is not None
    assert old.name is not None
    if sole_user(old) is None:
        node.replace_input_with(index, add_constant(node, values, old.name))
        return
    old.const_value, old.shape = ir.tensor(np.ascontiguousarray(values), name=old.name), ir.Shape(values.shape)
