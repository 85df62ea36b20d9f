"""Ultralytics: an ONNX file that `YOLO(file, task="classify")` loads, with the metadata that its exports have.

https://docs.ultralytics.com/modes/export/; its backend reads stride, task, batch, imgsz, names and channels as Python
literals (ultralytics/nn/backends/base.py).
"""

import json
from pathlib import Path

import numpy as np

from clf_export.delivery.original import Original
from clf_export.delivery.rework import first_output_only, one_image_each, pixels_as_floats, refuse_no_picture, to_bytes
from clf_export.delivery.tool import Tool, Written
from clf_export.delivery.words import describe_fit


def write(original: Original, place: Path) -> Written:
    """Write an ONNX file, images float32 [1, 3, H, W] in 0..1 to probabilities [1, K]."""
    refuse_no_picture(original, "Ultralytics", (3,))
    card, model = original.card, original.graph
    first_output_only(model)
    pixels_as_floats(model, original, 1.0, "images")
    one_image_each(model)  # with a dynamic batch it takes the size for dynamic too, and resizes to 640
    _, height, width = card.image_shape
    keys = {
        "stride": "1",  # of which the size must be a multiple
        "batch": "1",
        "imgsz": json.dumps([height, width]),
        "names": repr(dict(enumerate(card.names))),
        "task": "classify",
        "channels": "3",
        "author": "clf-edge",
    }
    data = to_bytes(model, original, keys)
    place.write_bytes(data)
    lines = describe_fit(card.picture_geometry, {"crop"} if height == width else {"stretch"}, "Ultralytics")
    high = card.value_range[1]
    return Written(data, lambda images: images.astype(np.float32) / np.float32(high), lines=tuple(lines), alone=True)


TOOL = Tool("ultralytics", "ultralytics", "Ultralytics", ".onnx", write, "ultralytics", "run_ultralytics.py")
