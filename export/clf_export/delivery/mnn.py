"""MNN: a `.mnn` file, for phones and small boards, and its labels, in a folder.

Its converter is called without its Python wrapper (`mnnconvert`), which installs another package with the first pip on
the PATH and reports each conversion to its makers.
"""

from pathlib import Path

import numpy as np

from clf_export.delivery.environment import needed_python
from clf_export.delivery.original import Original
from clf_export.delivery.proof import run_program
from clf_export.delivery.rework import to_convert
from clf_export.delivery.tool import Tool, Written
from clf_export.delivery.words import one_line_each

_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


def write(original: Original, place: Path) -> Written:
    """Write `model.mnn`, image float32 [N, C, H, W] in the range of the card to probabilities, and `labels.txt`."""
    data = to_convert(original, "MNN", "pass the float32 file, and see its mnnquant")
    source = place / "model.onnx"
    source.write_bytes(data)
    python = needed_python(TOOL)
    options: list[str | Path] = ["-f", "ONNX", "--modelFile", source, "--MNNModel", place / "model.mnn"]
    options += ["--bizCode", "clf-edge"]
    run_program([python, "-c", _CONVERT, *options], "MNN's converter", place)
    source.unlink()
    (place / "labels.txt").write_text(one_line_each(original.card.names), "utf-8")
    low, high = original.card.value_range
    line = f"the input image is float32 in {low:g}..{high:g}, {list(original.card.input_shape)} in RGB"
    return Written(data, lambda images: images.astype(np.float32), lines=(line,))


TOOL = Tool("mnn", "MNN", "MNN", "", write, "MNN", "run_mnn.py", converts=True)
