"""Hugging Face's Optimum: a folder that `ORTModelForImageClassification` and `pipeline` load.

https://huggingface.co/docs/optimum-onnx/onnxruntime/package_reference/modeling
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from clf_export.delivery.original import Original
from clf_export.delivery.rework import (
    first_output_only,
    logits_instead,
    pixels_as_floats,
    refuse_no_picture,
    to_bytes,
)
from clf_export.delivery.tool import Tool, Written
from clf_export.delivery.words import describe_fit

_BILINEAR = 2  # PIL.Image.Resampling.BILINEAR


def write(original: Original, place: Path) -> Written:
    """Write `model.onnx` (pixel_values float32 [N, 3, H, W] in 0..1 to logits), and both configurations."""
    refuse_no_picture(original, "transformers", (3,))
    card, model = original.card, original.graph
    first_output_only(model)
    pixels_as_floats(model, original, 1.0, "pixel_values")
    logits_instead(model, "logits")
    data = to_bytes(model, original)
    (place / "model.onnx").write_bytes(data)
    _, height, width = card.image_shape
    config: dict[str, Any] = {
        "architectures": ["ORTModelForImageClassification"],
        "model_type": "resnet",  # any that transformers has: the net is in the graph
        "id2label": {str(i): name for i, name in enumerate(card.names)},
        "label2id": {name: i for i, name in enumerate(card.names)},
        "problem_type": "single_label_classification",
        "num_channels": 3,
    }
    processor: dict[str, Any] = {
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": _BILINEAR,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
    }
    for name, content in (("config.json", config), ("preprocessor_config.json", processor)):
        (place / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    high = card.value_range[1]
    lines = describe_fit(card.picture_geometry, {"stretch"}, "transformers")
    return Written(data, lambda images: images.astype(np.float32) / np.float32(high), _softmax, tuple(lines))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


TOOL = Tool(
    "transformers",
    "optimum-onnx[onnxruntime]",
    "Optimum and transformers",
    "",
    write,
    "optimum.onnxruntime",
    "run_transformers.py",
)
