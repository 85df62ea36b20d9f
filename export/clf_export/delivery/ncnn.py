"""ncnn: `model.ncnn.param` and `model.ncnn.bin`, by its converter pnnx, and the labels, in a folder."""

from pathlib import Path

import numpy as np

from clf_export.delivery.environment import needed_python
from clf_export.delivery.original import Original
from clf_export.delivery.proof import run_program
from clf_export.delivery.rework import to_convert
from clf_export.delivery.tool import Tool, Written
from clf_export.delivery.words import one_line_each

_MADE = ("model.ncnn.param", "model.ncnn.bin")


def write(original: Original, place: Path) -> Written:
    """Write both files, in0 float32 [C, H, W] in the range of the card to out0 [K], and `labels.txt`."""
    advice = "pass the float32 file, and see its ncnn2int8"
    data = to_convert(original, "ncnn", advice, one_image=True, single_rows=True)
    source = place / "model.onnx"
    source.write_bytes(data)
    shape = ",".join(map(str, (1, *original.card.image_shape)))
    pnnx = needed_python(TOOL).parent / "pnnx"
    run_program([pnnx, source, f"inputshape=[{shape}]f32", "fp16=0"], "ncnn's converter pnnx", place)
    for file in place.iterdir():
        if file.name not in _MADE:
            file.unlink()
    (place / "labels.txt").write_text(one_line_each(original.card.names), "utf-8")
    low, high = original.card.value_range
    shown = list(original.card.input_shape)
    line = f"the input in0 is float32 in {low:g}..{high:g}, {shown} in RGB; the output is out0"
    return Written(data, lambda images: images.astype(np.float32), lines=(line,), alone=True)


TOOL = Tool("ncnn", "ncnn pnnx", "ncnn", "", write, "pnnx", "run_ncnn.py", converts=True)
