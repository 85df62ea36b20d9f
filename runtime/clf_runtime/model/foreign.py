"""A model file without a card: what its graph and the user say about it, and what is assumed for the rest."""

import math
from typing import Literal

import numpy as np

from clf_runtime.engine.engine import Engine
from clf_runtime.errors import ModelError
from clf_runtime.model.assumptions import EXAMPLES, Assumptions, describe_assumptions
from clf_runtime.model.card import ModelCard
from clf_runtime.model.interface import Interface, Prepare
from clf_runtime.model.names import read_names
from clf_runtime.model.records import MAX_CLASSES, MAX_PIXELS

_CHANNELS = (1, 3, 4)  # sizes of an axis that may be channels
_ADOPT = "; clf-export --onnx FILE makes a clf-edge model of such a file, with its preprocessing inside"
_SLACK = 1e-3  # of a sum of probabilities
_NOISES = 6  # images of noise, run to see whether the outputs are probabilities


def assume_card(engine: Engine, where: str, assumed: Assumptions | None = None) -> Interface:
    """Make a card for a foreign model from its graph and from what the user states.

    Raises ModelError if the model is not an image classifier: one input [batch, channels, height, width] or
    [batch, height, width, channels] of uint8 or float32, and a first output [batch, classes]; if essential facts are
    neither in the graph nor stated, with how to state them; or if what is stated does not fit the model.
    """
    assumed = assumed or Assumptions()
    inputs, outputs = engine.inputs, engine.outputs
    if len(inputs) != 1:
        raise ModelError(f"{where}: has no card, and {len(inputs)} inputs; an image classifier has one")
    if not outputs:
        raise ModelError(f"{where}: has no card and no output")
    shape, dtype = inputs[0].shape, inputs[0].dtype
    if dtype not in ("uint8", "float32"):
        raise ModelError(f"{where}: has no card, and takes {dtype}; supported are uint8 and float32{_ADOPT}")
    sizes = tuple(n for n in shape[1:] if isinstance(n, int) and n > 0)
    if len(shape) != 4 or len(sizes) != 3 or math.prod(sizes) > MAX_PIXELS:
        raise ModelError(
            f"{where}: has no card, and its input has shape {list(shape)}; expected 4 axes, of known size except the "
            f"batch{_ADOPT}"
        )

    wanted = []
    layout = assumed.layout or _layout(sizes)
    if layout is None:
        wanted.append(f"which axis of {'x'.join(map(str, sizes))} is the channels (layout=NCHW or layout=NHWC)")
    value_range = assumed.value_range or ((0.0, 255.0) if dtype == "uint8" else None)
    if value_range is None:
        wanted.append("the values that it takes (range, and mean and std if they are normalised)")
    channels = sizes[2] if layout == "NHWC" else sizes[0]
    prepare = None
    if layout is not None:
        _refuse_unfit(assumed, dtype, channels, where)
        prepare = _preparation(assumed, layout, channels)
    rows = _answers(engine, sizes, dtype, value_range or (0.0, 1.0), prepare, where)
    softmax = assumed.output == "logits"
    if assumed.output is None:
        softmax = not all(row.min() >= 0 and abs(float(row.sum()) - 1) < _SLACK for row in rows)
        if softmax and all(row.min() >= 0 and row.max() <= 1 for row in rows):
            wanted.append("whether its outputs, in 0..1 but not of sum 1, need a softmax (output=logits) or not")
    if wanted or layout is None or value_range is None:
        how = EXAMPLES if value_range is None else "--assume 'layout=NCHW output=logits', for example"
        raise ModelError(
            f"{where}: has no model card, so state {', and '.join(wanted)}: {how}; from Python "
            f"Classifier.load(file, assume=Assumptions(...)){_ADOPT}"
        )
    classes = rows.shape[1]
    names = assumed.names or read_names(engine.metadata.get("names", ""), classes)
    if names is not None and len(names) != classes:
        raise ModelError(f"{where}: {len(names)} names are assumed, but it has {classes} classes")

    colours = {1: "grey", 3: assumed.channels}.get(channels, f"of {channels} channels")
    values = describe_assumptions(assumed)
    normalised = f"normalised by {values}" if values else "not normalised"
    notes = [
        f"{where} has no card; assuming that images are {layout}, {dtype} in "
        f"{value_range[0]:g}..{value_range[1]:g}, {colours}, {normalised}",
    ]
    if names is None:
        notes.append(f"its {classes} classes have no names; their indices are used")
        names = tuple(str(i) for i in range(classes))
    if softmax:
        told = "are stated to be logits" if assumed.output else "do not look like probabilities"
        notes.append(f"its outputs {told}, so a softmax is applied")
    image_shape = (channels, *(sizes[:2] if layout == "NHWC" else sizes[1:]))
    card = ModelCard("unknown", names, image_shape, dtype, value_range, layout=layout)
    return Interface(card, prepare, softmax, tuple(notes))


def _layout(sizes: tuple[int, ...]) -> Literal["NCHW", "NHWC"] | None:
    """The layout implied by the sizes of an image, None if ambiguous."""
    first, last = sizes[0] in _CHANNELS, sizes[2] in _CHANNELS
    return None if first == last else "NCHW" if first else "NHWC"


def _refuse_unfit(assumed: Assumptions, dtype: str, channels: int, where: str) -> None:
    if dtype == "uint8" and (assumed.mean or assumed.std or assumed.value_range not in (None, (0, 255))):
        raise ModelError(f"{where}: takes uint8 in 0..255, so range, mean and std cannot be assumed")
    for name, values in (("mean", assumed.mean), ("std", assumed.std)):
        if len(values) not in (0, 1, channels):
            raise ModelError(f"{where}: {len(values)} numbers are assumed as {name}, but it takes {channels} channels")
    low, high = assumed.value_range or (0.0, 255.0)
    if not all(low <= value <= high for value in assumed.mean):
        raise ModelError(
            f"{where}: the assumed mean {max(assumed.mean):g} is outside the range {low:g}..{high:g}; mean and std are "
            "in the units of the range"
        )
    if assumed.channels == "BGR" and channels != 3:
        raise ModelError(f"{where}: channels=BGR is assumed, but it takes {channels} channels, not 3")


def _preparation(assumed: Assumptions, layout: str, channels: int) -> Prepare | None:
    """The function from RGB images in the assumed range to the model's input; None if they are the same."""
    if not (assumed.mean or assumed.std or assumed.channels == "BGR"):
        return None
    shape, axis = ((channels,), -1) if layout == "NHWC" else ((channels, 1, 1), 1)
    mean, std = (
        np.broadcast_to(np.array(values or (usual,), np.float32), channels).reshape(shape)
        for values, usual in ((assumed.mean, 0), (assumed.std, 1))
    )

    def prepare(batch: np.ndarray) -> np.ndarray:
        if assumed.channels == "BGR":
            batch = np.flip(batch, axis)
        if assumed.mean or assumed.std:
            batch = (batch - mean) / std
        return np.ascontiguousarray(batch)

    return prepare


def _answers(
    engine: Engine,
    sizes: tuple[int, ...],
    dtype: str,
    value_range: tuple[float, float],
    prepare: Prepare | None,
    where: str,
) -> np.ndarray:
    """The first output for dark, bright and noise images of several contrasts, one at a time: floats [images, classes].

    Several, since for a single one logits may look like probabilities. Raises ModelError if the model fails, or gives
    another shape.
    """
    low, high = value_range
    generator = np.random.default_rng(0)
    shares = [np.zeros((1, *sizes), np.float32), np.ones((1, *sizes), np.float32)]
    shares += [generator.random((1, *sizes), np.float32) ** (1 + i) for i in range(_NOISES)]
    rows = []
    for share in shares:
        image = (low + share * (high - low)).astype(dtype)
        try:
            output = engine.run(image if prepare is None else prepare(image))
        except ModelError as error:
            raise ModelError(f"{where}: has no card, and fails on a single image: {error}") from None
        is_float = isinstance(output, np.ndarray) and output.dtype.kind == "f"
        if not is_float or output.ndim != 2 or len(output) != 1 or not 2 <= output.shape[1] <= MAX_CLASSES:
            raise ModelError(
                f"{where}: has no card, and its first output is not floats [batch, classes] with 2 or more classes"
            )
        rows.append(output[0])
    return np.stack(rows)
