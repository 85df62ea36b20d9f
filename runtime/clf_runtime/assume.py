"""What is assumed of a model file that carries no card, and how it is said."""

import math
from typing import Any

import numpy as np

from clf_runtime.card import MAX_CLASSES, MAX_PIXELS, ModelCard
from clf_runtime.errors import ModelError, brief
from clf_runtime.names import read_names

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def assume_card(session: Any, where: str) -> tuple[ModelCard, bool, tuple[str, ...]]:
    """Make a card for a foreign model from its session: what it must be to be run, and guesses for the rest.

    Returns the card, whether the model's output still needs a softmax, and the assumptions as sentences.
    Raises ModelError if the model is no classifier of images: one input [batch, channels, height, width] or
    [batch, height, width, channels] of uint8 or float32, and a first output [batch, classes].
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        raise ModelError(f"{where}: carries no card and has {len(inputs)} inputs; a classifier of images has one")
    if not outputs:
        raise ModelError(f"{where}: carries no card and has no output")
    shape, dtype = inputs[0].shape, _DTYPES.get(inputs[0].type)
    if dtype is None:
        raise ModelError(f"{where}: carries no card and takes {inputs[0].type}; uint8 or float32 images are run")
    sizes = shape[1:]
    if len(shape) != 4 or not all(type(n) is int and n > 0 for n in sizes) or math.prod(sizes) > MAX_PIXELS:
        raise ModelError(f"{where}: carries no card and its input has shape {shape}; images have 4 axes of known size")
    layout = "NHWC" if sizes[2] in (1, 3) and sizes[0] not in (1, 3) else "NCHW"
    image_shape = (sizes[2], sizes[0], sizes[1]) if layout == "NHWC" else (sizes[0], sizes[1], sizes[2])

    generator = np.random.default_rng(0)
    probe = generator.random((1, *sizes), dtype=np.float32)
    output = _probe(
        session, inputs[0].name, outputs[0].name, probe if dtype == "float32" else probe * 255, dtype, where
    )
    classes = output.shape[1]
    softmax = not (output.min() >= 0 and abs(float(output.sum()) - 1) < 1e-3)

    value_range = (0.0, 1.0) if dtype == "float32" else (0.0, 255.0)
    names = read_names(session.get_modelmeta().custom_metadata_map.get("names", ""), classes)
    assumptions = [
        f"{where} carries no card, so it is assumed that images are {layout}, {dtype} in "
        f"{value_range[0]:g}..{value_range[1]:g}, {'grey' if image_shape[0] == 1 else 'RGB'}, not normalised",
    ]
    if names is None:
        assumptions.append(f"its {classes} classes have no names and are called by their index")
        names = tuple(str(i) for i in range(classes))
    if softmax:
        assumptions.append("its outputs do not look like probabilities, so a softmax is applied")
    card = ModelCard("unknown", names, image_shape, dtype, value_range, layout=layout)
    return card, softmax, tuple(assumptions)


def _probe(session: Any, input_name: str, output_name: str, image: np.ndarray, dtype: str, where: str) -> np.ndarray:
    try:
        output: np.ndarray = session.run([output_name], {input_name: image.astype(dtype)})[0]
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise ModelError(f"{where}: carries no card and does not run on one image: {brief(error)}") from None
    is_float = isinstance(output, np.ndarray) and output.dtype.kind == "f"
    if not is_float or output.ndim != 2 or not 2 <= output.shape[1] <= MAX_CLASSES:
        raise ModelError(
            f"{where}: carries no card and its first output is not floats [batch, classes] with 2 or more classes"
        )
    return output
