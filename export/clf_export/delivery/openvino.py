"""OpenVINO's Model API: an ONNX file with its keys `model_info ...`, which reads a picture in BGR as OpenCV gives it.

The keys are those of https://github.com/openvinotoolkit/model_api/blob/master/docs/source/guides/model-configuration.md;
in an ONNX file each is an entry of the metadata (Model API's adapters/onnx_adapter.py).
"""

from pathlib import Path

import numpy as np

from clf_export.delivery.original import Original
from clf_export.delivery.rework import first_output_only, pixels_as_floats, refuse_no_picture, to_bytes
from clf_export.delivery.tool import Tool, Written
from clf_export.delivery.words import describe_fit, single_words

_RESIZE = {"stretch": "standard", "crop": "crop", "pad": "fit_to_window_letterbox"}

_EXACTLY = 'to be as exact, it needs plugin_config={"EXECUTION_MODE_HINT": "ACCURACY"} in OpenvinoAdapter'


def write(original: Original, place: Path) -> Written:
    """Write an ONNX file whose input is float32 [N, 3, H, W] in 0..255, with one output."""
    refuse_no_picture(original, "Model API", (3,))
    card, model = original.card, original.graph
    pixels_as_floats(model, original, 255.0, "pixels")
    first_output_only(model)
    geometry = card.picture_geometry
    labels, renamed = single_words(card.names)
    background = geometry.background or (0, 0, 0)
    info = {
        "model_type": "Classification",
        "labels": " ".join(labels),  # which it splits at blanks
        "reverse_input_channels": "True",
        "resize_type": _RESIZE[geometry.fit],
        "pad_value": str(round(sum(background) / 3)),
        "output_raw_scores": "True",
        "topk": "1",
    }
    data = to_bytes(model, original, {f"model_info {key}": value for key, value in info.items()})
    place.write_bytes(data)
    lines = [_EXACTLY, *renamed, *describe_fit(geometry, _RESIZE, "Model API")]
    if geometry.fit == "pad" and len(set(background)) > 1:
        lines.append(f"Model API pads with one grey, {info['pad_value']}, instead of {background}")
    return Written(data, lambda images: _to_255(images, card.value_range[1]), lines=tuple(lines))


def _to_255(images: np.ndarray, high: float) -> np.ndarray:
    return images.astype(np.float32) * np.float32(255 / high)


TOOL = Tool(
    "openvino",
    "openvino-model-api[onnx]",
    "OpenVINO's Model API",
    ".onnx",
    write,
    "model_api",
    "run_openvino.py",
    tolerance=1e-3,  # float pixels pass through its own resizing
)
