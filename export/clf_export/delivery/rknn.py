"""Rockchip's NPUs: `model.rknn`, the graph that it was built from, and the labels, in a folder.

https://github.com/airockchip/rknn-toolkit2; its simulator runs only what the same process has built from the graph.
"""

from pathlib import Path

import numpy as np

from clf_export.delivery.environment import needed_python
from clf_export.delivery.original import Original
from clf_export.delivery.proof import TRIALS, run_program
from clf_export.delivery.rework import to_convert
from clf_export.delivery.tool import Tool, Written
from clf_export.delivery.words import one_line_each

PLATFORM = "rk3588"


def write(original: Original, place: Path) -> Written:
    """Write all three, image float32 [1, C, H, W] in the range of the card to probabilities, computed in float16."""
    data = to_convert(original, "RKNN", "pass the float32 file", one_image=True)
    (place / "model.onnx").write_bytes(data)
    run_program([needed_python(TOOL), TRIALS / TOOL.trial, place], "Rockchip's converter", place)
    (place / "labels.txt").write_text(one_line_each(original.card.names), "utf-8")
    kept = {"model.onnx", "model.rknn", "labels.txt"}
    for file in place.iterdir():
        if file.name not in kept:  # what the converter leaves
            file.unlink()
    line = f"built for {PLATFORM} without quantisation; for another chip build it from model.onnx"
    return Written(data, lambda images: images.astype(np.float32), lines=(line,), alone=True)


TOOL = Tool(
    "rknn",
    "rknn-toolkit2",
    "Rockchip's RKNN",
    "",
    write,
    "rknn.api",
    "run_rknn.py",
    converts=True,
    tolerance=5e-3,  # float16
)
