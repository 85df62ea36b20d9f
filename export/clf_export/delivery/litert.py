"""LiteRT: a folder with `model.tflite` in float32, `model.int8.tflite`, both by onnx2tf, and `labelmap.txt`.

onnx2tf (https://github.com/PINTO0309/onnx2tf) fetches sample images if there are none in its folder. The int8 file is
calibrated on images of the user, or, for want of these, on the golden cases; what that costs is measured and told.
"""

import tempfile
from pathlib import Path

import numpy as np

from clf_export.delivery.environment import needed_python
from clf_export.delivery.original import Original
from clf_export.delivery.proof import compare, run_program, try_tool
from clf_export.delivery.rework import to_convert
from clf_export.delivery.tool import Tool, Written
from clf_export.delivery.words import one_line_each
from clf_export.errors import DeliveryError
from clf_runtime.classifier import Classifier
from clf_runtime.evaluation.interval import stated
from clf_runtime.model.records import MOST_TOLERANCE

FLOAT, INT8 = "model.tflite", "model.int8.tflite"
_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"  # what onnx2tf looks for: 0..1


def write(original: Original, place: Path) -> Written:
    """Write both files, float32 or int8 [1, H, W, C] in the range of the card to probabilities, and the labels.

    The int8 file is left out if a probability differs by more than any int8 file's may.
    """
    advice = "pass the float32 file, of which an int8 one is made too"
    data = to_convert(original, "LiteRT", advice, channels=(3,), one_image=True, single_rows=True)
    taken, high = original.graph.graph.input[0].name, original.card.value_range[1]
    python = needed_python(TOOL)
    known = original.labelled
    calibration_images = _of_classes(original) if known is None else known.calibration
    shares = (calibration_images.transpose(0, 2, 3, 1) / high).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="clf-edge-litert-") as scratch:
        inside = Path(scratch)
        (inside / "model.onnx").write_bytes(data)
        np.save(inside / "calibration.npy", shares)
        np.save(inside / _SAMPLES, np.zeros((20, 128, 128, 3), np.float32))
        # (x - mean) / deviation is what the model takes
        scale = ["[[[[0,0,0]]]]", f"[[[[{1 / high},{1 / high},{1 / high}]]]]"]
        calibration = ["-cind", taken, inside / "calibration.npy", *scale]
        options = ["-i", inside / "model.onnx", "-o", inside / "made", "-nuo", "-n", "-oiqt", *calibration]
        run_program([python, "-m", "onnx2tf", *options], "LiteRT's converter onnx2tf", inside)
        (inside / "made" / "model_float32.tflite").rename(place / FLOAT)
        (inside / "made" / "model_full_integer_quant.tflite").rename(place / INT8)
    (place / "labelmap.txt").write_text(one_line_each(original.card.names), "utf-8")
    channels, height, width = original.card.image_shape
    line = f"the input is float32 in 0..{high:g}, [1, {height}, {width}, {channels}] in RGB"
    feed = Written(data, lambda images: images.astype(np.float32), alone=True)
    return Written(data, feed.feed, lines=(line, *_int8_lines(original, python, place)), alone=True)


def _of_classes(original: Original) -> np.ndarray:
    """The golden images without those that are of no class."""
    familiarity = original.card.familiarity
    return original.images[: len(original.images) - (0 if familiarity is None else familiarity.foreign)]


def _int8_lines(original: Original, python: Path, place: Path) -> list[str]:
    """How much the int8 file differs, and on images of the user its accuracy beside the exported file's."""
    lines, known = [_int8_line(original, python, place)], original.labelled
    if known is not None and (place / INT8).exists():
        answers, _ = try_tool(python, TOOL, place / INT8, known.tested)
        before = Classifier(original.data, str(original.path), device="cpu").probabilities(known.tested)
        own, theirs = (float((scores.argmax(axis=1) == known.labels).mean()) for scores in (answers, before))
        lines.append(f"{INT8}: accuracy {stated(own, len(answers))}, the exported file {100 * theirs:.2f} %")
    elif known is None:
        lines.append(f"{INT8}: calibrated on the golden cases alone, accuracy unknown; --data SOURCE does better")
    return lines


def _int8_line(original: Original, python: Path, place: Path) -> str:
    """Run the int8 file, remove it if it differs too much, and say how much it differs."""
    answers, _ = try_tool(python, TOOL, place / INT8, original.images)
    same = int((answers.argmax(axis=1) == original.expected.argmax(axis=1)).sum())
    classes = f"the class is the same for {same} of {len(answers)}"
    try:
        return f"{INT8}: {compare(original, answers, 'int8', MOST_TOLERANCE['int8'])}; {classes}"
    except DeliveryError:
        (place / INT8).unlink()
        difference = float(np.abs(answers - original.expected).max())
        return f"no {INT8}: it differs by {difference:.1e}; {classes}"


TOOL = Tool(
    "litert", "onnx2tf ai-edge-litert", "LiteRT", "", write, "onnx2tf", "run_litert.py", converts=True, calibrates=True
)
