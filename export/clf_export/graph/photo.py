"""The geometry inside of the graph: a photograph of any size goes in, and any engine does with it what Pillow does.

    image uint8 [1, height, width, 3] → upright RGB pixels made [1, 3, H, W] by the run's geometry → the proven graph

ONNX's Resize with antialias, half_pixel and exclude_outside (https://onnx.ai/onnx/operators/onnx__Resize.html) is
Pillow's bilinear filter, but for single pixels that are rounded the other way, by one step of 255.

Letters in shapes: H and W the size of the model's input.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clf_export.graph.translate import INPUT, IR_VERSION, OPSET
from clf_runtime.model.geometry import Geometry

SCALED = "scaled"  # what the geometry makes: uint8 [1, 3, H, W]
_Nodes = list[onnx.NodeProto]


def with_geometry(model: onnx.ModelProto, geometry: Geometry, size: tuple[int, int]) -> onnx.ModelProto:
    """The graph of a model for images uint8 [batch, 3, H, W], with the geometry in front of it, for one photograph."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == INPUT:
                node.input[i] = SCALED
    nodes, constants = _geometry(geometry, size)
    own = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *own])
    graph.initializer.extend(constants)
    del graph.input[:]
    graph.input.append(_photograph())
    onnx.checker.check_model(found, full_check=True)
    return found


def geometry_alone(geometry: Geometry, size: tuple[int, int]) -> onnx.ModelProto:
    """The geometry as a model of its own: its output is what the model behind it would be given."""
    nodes, constants = _geometry(geometry, size)
    output = helper.make_tensor_value_info(SCALED, TensorProto.UINT8, [1, 3, *size])
    graph = helper.make_graph(nodes, "geometry", [_photograph()], [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _photograph() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "height", "width", 3])


def _geometry(geometry: Geometry, size: tuple[int, int]) -> tuple[_Nodes, list[onnx.TensorProto]]:
    """The nodes from INPUT to SCALED, whose whole numbers are those of `model.geometry.box` and `inside`."""
    high, wide = size
    constants: dict[str, list[int]] = {  # those that no node takes are left out
        "geometry_one": [1],
        "geometry_two": [2],
        "geometry_high": [high],
        "geometry_wide": [wide],
        "geometry_2_high": [2 * high],
        "geometry_2_wide": [2 * wide],
        "geometry_front": [1, 3],
        "geometry_size": [1, 3, high, wide],
        "geometry_axes": [2, 3],
        "geometry_none": [0, 0],
    }
    nodes: _Nodes = []

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    planes = node("Transpose", [INPUT], "geometry_planes", perm=[0, 3, 1, 2])
    resize: dict[str, Any] = {
        "mode": "linear",
        "antialias": 1,
        "exclude_outside": 1,
        "coordinate_transformation_mode": "half_pixel",
    }
    if geometry.fit == "stretch":
        node("Resize", [planes, "", "", "geometry_size"], SCALED, **resize)
        return nodes, _tensors(nodes, constants)
    h = node("Shape", [planes], "geometry_h", start=2, end=3)
    w = node("Shape", [planes], "geometry_w", start=3, end=4)
    h_wide = node("Mul", [h, "geometry_wide"], "geometry_h_wide")
    w_high = node("Mul", [w, "geometry_high"], "geometry_w_high")
    is_wide = node("Greater", [w_high, h_wide], "geometry_is_wide")
    h_2_wide = node("Mul", [h, "geometry_2_wide"], "geometry_h_2_wide")
    w_2_high = node("Mul", [w, "geometry_2_high"], "geometry_w_2_high")

    def share(product: str, side: str, twice: str, name: str) -> str:
        """(product + side) // twice, one at least: the product's half by the side, rounded, halves up."""
        rounded = node("Div", [node("Add", [product, side], f"{name}_sum"), twice], f"{name}_rounded")
        return node("Max", [rounded, "geometry_one"], name)

    if geometry.fit == "crop":
        width = share(h_2_wide, "geometry_high", "geometry_2_high", "geometry_box_width")
        height = share(w_2_high, "geometry_wide", "geometry_2_wide", "geometry_box_height")
        width = node("Where", [is_wide, width, w], "geometry_width")
        height = node("Where", [is_wide, h, height], "geometry_height")
        left = node("Div", [node("Sub", [w, width], "geometry_beside"), "geometry_two"], "geometry_left")
        top = node("Div", [node("Sub", [h, height], "geometry_above"), "geometry_two"], "geometry_top")
        starts = node("Concat", [top, left], "geometry_starts", axis=0)
        sides = node("Concat", [height, width], "geometry_sides", axis=0)
        ends = node("Add", [starts, sides], "geometry_ends")
        middle = node("Slice", [planes, starts, ends, "geometry_axes"], "geometry_middle")
        node("Resize", [middle, "", "", "geometry_size"], SCALED, **resize)
        return nodes, _tensors(nodes, constants)
    twice_w = node("Mul", [w, "geometry_two"], "geometry_twice_w")
    twice_h = node("Mul", [h, "geometry_two"], "geometry_twice_h")
    height = share(h_2_wide, w, twice_w, "geometry_inner_height")
    width = share(w_2_high, h, twice_h, "geometry_inner_width")
    height = node("Where", [is_wide, height, "geometry_high"], "geometry_height")
    width = node("Where", [is_wide, "geometry_wide", width], "geometry_width")
    inner = node("Concat", ["geometry_front", height, width], "geometry_inner", axis=0)
    scaled = node("Resize", [planes, "", "", inner], "geometry_resized", **resize)
    beside = node("Sub", ["geometry_wide", width], "geometry_beside")
    above = node("Sub", ["geometry_high", height], "geometry_above")
    left = node("Div", [beside, "geometry_two"], "geometry_left")
    top = node("Div", [above, "geometry_two"], "geometry_top")
    right = node("Sub", [beside, left], "geometry_right")
    bottom = node("Sub", [above, top], "geometry_bottom")
    pads = node("Concat", ["geometry_none", top, left, "geometry_none", bottom, right], "geometry_pads", axis=0)
    padded = node("Pad", [scaled, pads], "geometry_padded")  # with zeros, which the background then takes the place of
    # Pad has one value for all channels, and the background one for each: a mask of ones tells where it goes.
    ones = node("Equal", [scaled, scaled], "geometry_ones")
    mask = node("Pad", [node("Cast", [ones], "geometry_mask", to=TensorProto.UINT8), pads], "geometry_padded_mask")
    is_inside = node("Cast", [mask], "geometry_is_inside", to=TensorProto.BOOL)
    node("Where", [is_inside, padded, "geometry_background"], SCALED)
    colour = np.array(geometry.background, np.uint8).reshape(1, 3, 1, 1)
    return nodes, [*_tensors(nodes, constants), numpy_helper.from_array(colour, "geometry_background")]


def _tensors(nodes: _Nodes, constants: dict[str, list[int]]) -> list[onnx.TensorProto]:
    taken = {name for node in nodes for name in node.input}
    return [
        numpy_helper.from_array(np.array(values, np.int64), name) for name, values in constants.items() if name in taken
    ]
