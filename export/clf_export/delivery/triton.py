"""Triton: a folder of a model repository, with the file as it is, `config.pbtxt`, and the labels.

Fields of ModelConfig: https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto; the
labels are what its classification extension answers with (model_configuration.md, label_filename).
"""

import json
import re
from pathlib import Path

from clf_export.delivery.original import Original
from clf_export.delivery.tool import Tool, Written
from clf_export.delivery.words import one_line_each
from clf_export.errors import DeliveryError

LABELS = "labels.txt"
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
_MOST = 64  # images in a batch; a server may be told otherwise


def write(original: Original, place: Path) -> Written:
    """Write `1/model.onnx`, unchanged, `config.pbtxt` and `labels.txt` into a folder.

    Raises DeliveryError for a name of the folder that the server's HTTP addresses cannot have: it decodes none.
    """
    if not re.fullmatch(r"[\w.~-]+", place.name, re.ASCII):
        named = f"{place.name!r} cannot be asked for over HTTP, since Triton decodes no addresses"
        raise DeliveryError(f"{original.path}: {named}; choose another --out, of letters, digits, . _ ~ and -")
    (place / "1").mkdir()
    (place / "1" / "model.onnx").write_bytes(original.data)
    (place / LABELS).write_text(one_line_each(original.card.names), "utf-8")
    (place / "config.pbtxt").write_text(config(original, place.name), "utf-8")
    photo = original.card.input == "photo"
    lines = ("it takes one photo a request: max_batch_size is 0",) if photo else ()
    return Written(original.data, lines=lines, alone=photo)


def config(original: Original, name: str) -> str:
    """The text of `config.pbtxt`. Triton demands that `name` is the folder's."""
    card, graph = original.card, original.graph.graph
    if card.input == "photo":
        batch, image, shapes = 0, [1, -1, -1, 3], [[1, len(card.names)], [1]]
    else:
        batch, image, shapes = _MOST, list(card.input_shape), [[len(card.names)], [1]]
    outputs: list[str] = []
    for value, shape in zip(graph.output, shapes, strict=False):
        label = f' label_filename: "{LABELS}"' if not outputs else ""
        # one number an image: Triton has the batch outside of dims, which may not be empty
        reshape = " reshape { shape: [ ] }" if outputs and batch else ""
        outputs.append(f'  {{ name: "{value.name}" data_type: TYPE_FP32 dims: {shape}{reshape}{label} }}')
    lines = [
        f"name: {json.dumps(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {batch}",
        f'input [ {{ name: "{graph.input[0].name}" data_type: {_TYPES[card.dtype]} dims: {image} }} ]',
        "output [",
        ",\n".join(outputs),
        "]",
        *(["dynamic_batching { }"] if batch else []),
    ]
    return "\n".join(lines) + "\n"


TOOL = Tool("triton", "nvidia-pytriton onnxruntime", "NVIDIA's Triton", "", write, "pytriton", "run_triton.py")
