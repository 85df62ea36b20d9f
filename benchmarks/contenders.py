"""Other ways to run a model, on one thread, for comparison in runtime.py."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clf_runtime.model.card import ModelCard

Call = Callable[[], object]


@dataclass(frozen=True)
class Contender:
    """A way to run a batch of images, and the precision of its arithmetic."""

    name: str
    precision: str
    call: Call


def contenders(model: str, card: ModelCard, images: np.ndarray) -> Iterator[Contender]:
    """Those that are installed here, and take this model and batch; OpenVINO also the float32 file beside an int8."""
    if importlib.util.find_spec("openvino") is not None:
        yield openvino("openvino", model, images, INFERENCE_PRECISION_HINT="f32")
        as_it_comes = openvino("openvino_as_it_comes", model, images)
        if card.precision != "float32" or as_it_comes.precision != "float32":
            yield as_it_comes
        whole = Path(model).with_name(Path(model).name.replace(".int8.", "."))
        if card.precision == "int8" and whole.is_file():
            yield openvino("openvino_on_float32", str(whole), images)
    for name, precision, make in (("litert", card.precision, litert), ("pytorch", "float32", pytorch)):
        if (call := make(model, card, images)) is not None:
            yield Contender(name, precision, call)


def openvino(name: str, model: str, images: np.ndarray, **options: str) -> Contender:
    """OpenVINO on the same file; the precision is that of what is not quantised."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_NUM_THREADS": 1, **options})
    precision = {"f32": "float32", "bf16": "bfloat16"}.get(
        found := compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(), found
    )
    request = compiled.create_infer_request()
    return Contender(name, precision, lambda: request.infer([images]))


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
