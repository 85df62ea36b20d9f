"""Other ways to run a model, on one thread, for comparison in runtime.py.

Each function returns a function that runs a batch of images, or None if it is not installed.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from clf_runtime.model.card import ModelCard

Call = Callable[[], object]


def openvino(model: str, card: ModelCard, images: np.ndarray) -> Call | None:
    """OpenVINO on the same file."""
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model), "CPU", options)
    request = compiled.create_infer_request()
    return lambda: request.infer([images])


def litert(model: str, card: ModelCard, images: np.ndarray) -> Call | None:
    """LiteRT, with XNNPACK, on the `.tflite` file of the same name, of batch size 1.

    See to_litert.py.
    """
    file = Path(model).with_suffix(".tflite")
    if importlib.util.find_spec("ai_edge_litert") is None or not file.is_file() or len(images) > 1:
        return None
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.allocate_tensors()
    output = interpreter.get_output_details()[0]["index"]

    def call() -> np.ndarray:
        interpreter.set_tensor(place, images)
        interpreter.invoke()
        answer: np.ndarray = interpreter.get_tensor(output)
        return answer

    return call


def pytorch(model: str, card: ModelCard, images: np.ndarray) -> Call | None:
    """PyTorch on the same architecture with fresh weights, including normalisation and softmax."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    from clf_train.models.registry import MODELS, build_model

    if card.model not in MODELS or card.precision != "float32":
        return None
    torch.set_num_threads(1)
    net = build_model(card.model, card.image_shape, len(card.names)).eval()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (card.mean, card.std))

    def call() -> np.ndarray:
        with torch.inference_mode():
            x = (torch.from_numpy(images).float() - mean) / std
            answer: np.ndarray = torch.softmax(net(x), 1).numpy()
        return answer

    return call
