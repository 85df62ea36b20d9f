"""A model's geometry as nodes of its graph, so that it takes a photo of any size and needs no Pillow.

    image [1, height, width, 3] → cut → grey → scale → pad → transpose → pixels [1, C, H, W] → the model as it was

This is what `clf_runtime.inputs.geometry.to_input` does, with the same integers. Pillow's bilinear filter is Resize of
mode linear with antialias and exclude_outside (https://onnx.ai/onnx/operators/onnx__Resize.html). onnxruntime resizes
the rows of uint8 first and then the columns, as we do, but its coordinates are float32 where Pillow's are float64: some
values differ by a step of 255. Other engines may differ by more (docs/exporting.md).

Letters in shapes: C channels, H height and W width of the model's input.
"""

import onnx
from onnx import TensorProto, helper

from clf_export.errors import TranslationError
from clf_runtime.errors import brief
from clf_runtime.model.geometry import Colour, Geometry
from clf_runtime.model.records import LEAST_SIDE

PIXELS = "photo_pixels"  # uint8 [1, C, H, W]: the input of the model behind it
_LUMA = (19595, 38470, 7471)  # of ITU-R 601, times 2**16, as in Pillow: sums have 24 bits, so that float32 is exact

_HEAD = """
two_axes = Constant <value_ints = [1, 2]> ()
target = Constant <value_ints = [{high}, {wide}]> ()
turned = Constant <value_ints = [{wide}, {high}]> ()
swap = Constant <value_ints = [1, 0]> ()
unit = Constant <value_ints = [1]> ()
two = Constant <value_ints = [2]> ()
depth = Constant <value_ints = [{channels}]> ()
"""
# `geometry.box`, for both sides at once: Min keeps the side that is not cropped.
_CUT = """
size = Shape <start = 1, end = 3> (image)
others = Gather (size, swap)
share = Mul (others, target)
twice = Mul (share, two)
high_up = Add (twice, turned)
below = Mul (turned, two)
rounded = Div (high_up, below)
least = Max (rounded, unit)
kept = Min (least, size)
spare = Sub (size, kept)
start = Div (spare, two)
end = Add (start, kept)
cut = Slice (image, start, end, two_axes)
"""
# A convolution along the values in memory order: a product of matrices takes several times as long.
_GREY = """
luma = Constant <value = float[1, 1, 3] {{ {red}, {green}, {blue} }}> ()
half = Constant <value = float[1] {{ 0.5 }}> ()
in_line = Constant <value_ints = [1, 1, -1]> ()
values = Cast <to = {float}> ({source})
line = Reshape (values, in_line)
bright = Conv <strides = [3]> (line, luma, half)
whole = Cast <to = {uint8}> (bright)
sides = Shape <start = 1, end = 3> ({source})
grey_size = Concat <axis = 0> (unit, sides, unit)
grey = Reshape (whole, grey_size)
"""
# `geometry.inside`.
_INSIDE = """
size = Shape <start = 1, end = 3> (image)
others = Gather (size, swap)
share = Mul (size, turned)
twice = Mul (share, two)
high_up = Add (twice, others)
below = Mul (others, two)
rounded = Div (high_up, below)
least = Max (rounded, unit)
inner = Min (least, target)
"""
_SCALE = """
sizes = Concat <axis = 0> (unit, {inner}, depth)
scaled = Resize <mode = "linear", antialias = 1, exclude_outside = 1> ({source}, , , sizes)
"""
_PAD = """
room = Sub (target, inner)
before = Div (room, two)
after = Sub (room, before)
bars = Concat <axis = 0> (before, after)
"""
_WHOLE = """
whole_size = Concat <axis = 0> (unit, target, depth)
framed = Reshape ({source}, whole_size)
"""
_TAIL = """
pixels = Transpose <perm = [0, 3, 1, 2]> ({source})
"""


def photo_problem(image_shape: tuple[int, int, int], dtype: str) -> str | None:
    """Why a model with this input cannot take photos; None if it can."""
    channels, *sides = image_shape
    if dtype != "uint8":
        return f"its images are {dtype}, photos are uint8"
    if channels not in (1, 3):
        return f"its images have {channels} channels, photos are converted to 3 or 1"
    if min(sides) < LEAST_SIDE:
        return f"its images are {sides[0]}x{sides[1]}, smaller than {LEAST_SIDE} pixels a side"
    return None


def with_photo_input(model: onnx.ModelProto, image_shape: tuple[int, int, int], geometry: Geometry) -> onnx.ModelProto:
    """A model that takes one photo, uint8 [1, height, width, 3], RGB and upright, of any height and width.

    `model` takes uint8 [batch, *image_shape] and is not modified. A photo of that size passes unchanged. For a model of
    one channel it is converted to grey as in Pillow: (19595 R + 38470 G + 7471 B + 32768) >> 16.
    Raises TranslationError if its images are not photos (see photo_problem), or the result is not valid ONNX.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    [taken] = graph.input
    problem = photo_problem(image_shape, helper.tensor_dtype_to_np_dtype(taken.type.tensor_type.elem_type).name)
    if problem is not None:
        raise TranslationError(f"the net cannot take photos: {problem}")
    front = list(_front(taken.name, image_shape, geometry))
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == taken.name:
                node.input[i] = PIXELS
    behind = list(graph.node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*front, *behind])
    taken.CopyFrom(helper.make_tensor_value_info(taken.name, TensorProto.UINT8, [1, "height", "width", 3]))
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].CopyFrom(onnx.TensorShapeProto.Dimension(dim_value=1))
    try:
        onnx.checker.check_model(made, full_check=True)
    except Exception as error:
        raise TranslationError(f"with the geometry in front the net is not valid ONNX: {brief(error, 300)}") from None
    return made


def _front(image: str, image_shape: tuple[int, int, int], geometry: Geometry) -> list[onnx.NodeProto]:
    """The nodes from the photo to PIXELS."""
    channels, high, wide = image_shape
    text, source, inner = _HEAD.format(high=high, wide=wide, channels=channels), "image", "target"
    if geometry.fit == "crop":
        text, source = text + _CUT, "cut"
    if channels == 1:
        red, green, blue = (weight / (1 << 16) for weight in _LUMA)
        kinds = {"float": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
        text += _GREY.format(red=red, green=green, blue=blue, source=source, **kinds)
        source = "grey"
    if geometry.fit == "pad":
        text, inner = text + _INSIDE, "inner"
    text, source = text + _SCALE.format(inner=inner, source=source), "scaled"
    if geometry.fit == "pad":
        assert geometry.background is not None
        text += _PAD + _bars(_colour(geometry.background, channels)) + _WHOLE.format(source="padded")
        source = "framed"
    text += _TAIL.format(source=source)
    nodes = list(
        onnx.parser.parse_graph(f"g (uint8[1, h, w, 3] image) => (uint8[1, c, h2, w2] pixels) {{ {text} }}").node
    )
    used = {name for node in nodes for name in node.input} | {"pixels"}
    nodes = [node for node in nodes if node.output[0] in used]  # onnxruntime warns about the others
    named = {"image": image, "": ""}
    for node in nodes:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = named.get(name, f"photo_{name}")
        node.name = node.output[0]
    return nodes


def _colour(background: Colour, channels: int) -> tuple[int, ...]:
    if channels == 3:
        return background
    return ((sum(w * v for w, v in zip(_LUMA, background, strict=True)) + (1 << 15)) >> 16,)


def _bars(colour: tuple[int, ...]) -> str:
    """Lines that add bars of a colour around `scaled`: Pad takes one value, so each channel may need its own."""
    padded = "{out} = Pad (scaled{n}, bars, value{n}, two_axes)\n"
    value = "value{n} = Constant <value = uint8 {{ {v} }}> ()\n"
    if len(set(colour)) == 1:
        return value.format(n="", v=colour[0]) + padded.format(out="padded", n="")
    lines = "scaled0, scaled1, scaled2 = Split <axis = 3, num_outputs = 3> (scaled)\n"
    for n, v in enumerate(colour):
        lines += value.format(n=n, v=v) + padded.format(out=f"padded{n}", n=n)
    return lines + "padded = Concat <axis = 3> (padded0, padded1, padded2)\n"
