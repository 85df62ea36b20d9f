"""A model with a familiarity: fitted from the training images, and added to the graph as its second output.

Letters in shapes: N images, C channels, H height, W width, D features.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from clf_export.errors import ExportError
from clf_export.familiarity.features import FEATURES, with_features
from clf_export.familiarity.outliers import KINDS, make_outliers
from clf_export.familiarity.scores import distil, fit_score
from clf_export.int8.held_out import choose_images
from clf_export.proof.evidence import Evidence
from clf_export.proof.golden import golden_images
from clf_export.proof.parity import TOLERANCE, at_once
from clf_runtime.engine.engine import open_engine
from clf_runtime.model.familiarity import OUTPUT, Familiarity
from clf_runtime.model.records import Golden
from clf_runtime.model.reference import Reference
from clf_runtime.monitoring.reference import fit_reference
from clf_train.data.dataset import Dataset
from clf_train.runs.run import Run

LEAST_HELD_OUT = 20  # images, below which a share of a twentieth means nothing
LEAST_TOLERANCE = 0.01
UNFAMILIAR = 0.05  # the share of held-out images that are told to be unknown
_KNOWN = 10_000  # training images at most,
_A_KIND = 800  # and outliers of each kind, fewer
_MOST_VALUES = 50_000_000  # where images are large: together they have no more values than this, or
_LEAST_A_KIND = 40
_APART = 1e-6
_SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)


FamiliarityMode = Literal["auto", "off"]


@dataclass(frozen=True)
class Images:
    """What a familiarity is fitted to: `known` and `held_out` images, and `outliers` of each kind, [N, C, H, W].

    `fresh` outliers, of other images, are those by which it is measured. `unseen` says whether the net was trained
    without the `held_out` images.
    """

    known: np.ndarray
    held_out: np.ndarray
    outliers: dict[str, np.ndarray]
    fresh: dict[str, np.ndarray]
    unseen: bool

    @property
    def foreign(self) -> np.ndarray:
        """One image that is of no class, for a golden case: [1, C, H, W]."""
        return self.fresh["4x4 patches shuffled"][:1]


def gather_images(dataset: Dataset, run: Run) -> Images | None:
    """Choose and make the images of a run's familiarity, from its training part alone; None if they are too few.

    Raises DataError if there is no room for copies.
    """
    chosen = choose_images(dataset, run, most_calibration=_KNOWN)
    if len(chosen.validation) < LEAST_HELD_OUT or len(chosen.calibration) < LEAST_HELD_OUT:
        return None
    random = np.random.default_rng(run.seed)
    size = chosen.calibration[0].size
    a_kind = min(_A_KIND, len(chosen.calibration) // 8, _MOST_VALUES // (len(KINDS) * size))
    a_kind = max(_LEAST_A_KIND, a_kind)

    def of_each_kind(images: np.ndarray, most: int) -> dict[str, np.ndarray]:
        made = {}
        for kind in KINDS:
            rows = random.permutation(len(images))[:most]
            made[kind] = make_outliers(images[rows], run.value_range, kind, random)
        return made

    outliers = of_each_kind(chosen.calibration, a_kind)
    fresh = of_each_kind(chosen.validation, max(_LEAST_A_KIND, a_kind // 4))
    return Images(chosen.calibration, chosen.validation, outliers, fresh, chosen.unseen)


def with_familiarity(model: onnx.ModelProto, images: Images) -> tuple[onnx.ModelProto, Familiarity]:
    """The model with a second output, `familiarity`, float32 [batch] in 0..1, and what the card says of it.

    It is the share of the held-out images that are less familiar. The first output does not change.
    """
    featured = with_features(model)
    read = _output(featured, 1)
    known, held_out = read(images.known), read(images.held_out)
    unknown = np.concatenate([read(made) for made in images.outliers.values()])
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6

    def standard(features: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = ((features - mean) / deviation).astype(np.float32)
        return scaled

    score = fit_score(standard(known), standard(unknown), standard(held_out))
    net = distil(score, standard(known), standard(unknown))
    made = _append(featured, net, mean, deviation, held_out)
    familiarity = _output(made, 1)
    noticed = tuple(float((familiarity(these) < UNFAMILIAR).mean()) for these in images.fresh.values())
    each = min(map(len, images.fresh.values()))
    return made, Familiarity(UNFAMILIAR, len(held_out), images.unseen, each, tuple(KINDS), noticed)


def familiarity_of(model: bytes, images: np.ndarray) -> np.ndarray:
    """The second output of a model for images [N, C, H, W]: float32 [N]."""
    return _output(onnx.ModelProto.FromString(model), 1)(images)


def reference_of(
    model: bytes, familiarity: Familiarity | None, probabilities: np.ndarray, images: np.ndarray
) -> Reference | None:
    """What a stream on a device is compared with: how a model answers test images, of which it gave `probabilities`."""
    return fit_reference(probabilities, None if familiarity is None else familiarity_of(model, images))


def _output(model: onnx.ModelProto, number: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives an output of a model for any number of images [N, C, H, W]."""
    engine = open_engine(model.SerializeToString(), "the model", device="cpu")

    def read(images: np.ndarray) -> np.ndarray:
        batch = at_once(images.shape[1:])
        blocks = (np.ascontiguousarray(images[i : i + batch]) for i in range(0, len(images), batch))
        return np.concatenate([engine.run_all(block)[number] for block in blocks])

    return read


def golden_cases(evidence: Evidence, known: Images | None) -> np.ndarray:
    """The images of a file's golden cases, [G, C, H, W]: test images, and one that is foreign if there is any."""
    images = golden_images(evidence)
    return images if known is None or not len(images) else np.concatenate([images, known.foreign])


def with_golden(
    model: bytes, familiarity: Familiarity, golden: Golden | None, images: np.ndarray, known: Images
) -> Familiarity:
    """The record with the familiarity of the golden cases' images [G, C, H, W], and what it may differ by on a device.

    That is ten times what it varies by here: images one at a time and all in a batch, with graph optimisations and
    without; at least `LEAST_TOLERANCE`, for an int8 file five times that.
    """
    if golden is None:
        return familiarity
    proto = onnx.ModelProto.FromString(model)
    expected = _output(proto, 1)(images)
    others = [np.concatenate([_output(proto, 1)(image[None]) for image in images])]
    others.append(open_engine(model, "the model", device="cpu", optimised=False).run_all(images)[1])
    varies = float(max(np.abs(expected - other).max() for other in others))
    least = LEAST_TOLERANCE * (5 if golden.tolerance > TOLERANCE else 1)
    values = tuple(np.clip(expected, 0, 1).tolist())
    foreign = int(np.array_equal(images[-1:], known.foreign))
    return replace(familiarity, golden=values, tolerance=min(0.1, max(least, 10 * varies)), foreign=foreign)


def _append(
    featured: onnx.ModelProto, net: nn.Sequential, mean: np.ndarray, deviation: np.ndarray, held_out: np.ndarray
) -> onnx.ModelProto:
    """Append the net's layers, and after them the share of held-out images with a smaller value, to a graph."""
    first, second, last = (layer for layer in net if isinstance(layer, nn.Linear))
    w1, b1, w2, b2, w3, b3 = (
        value.detach().numpy().astype(np.float64)
        for layer in (first, second, last)
        for value in (layer.weight, layer.bias)
    )
    w1, b1 = w1 / deviation, b1 - (w1 / deviation) @ mean  # the standardisation is in the first layer
    hidden = np.maximum(0, np.maximum(0, held_out @ w1.T + b1) @ w2.T + b2)
    values = np.quantile(hidden @ w3[0] + b3[0], _SHARES)
    apart = np.append(np.diff(values) > _APART, True)  # of equal values the last, which has the largest share
    knots, shares = values[apart], np.array(_SHARES)[apart]
    if len(knots) < 2:
        raise ExportError("the held-out images are all equally familiar")
    shares[0] = 0
    slopes = np.diff(shares) / np.diff(knots)
    bends = np.diff(slopes, prepend=0, append=0)  # the share as a sum of rectified lines, one from each knot
    layers = [
        (w1, b1),
        (w2, b2),
        (np.repeat(w3, len(knots), axis=0), b3 - knots),  # how far above each knot
        (bends[None], np.zeros(1)),
    ]
    made = onnx.ModelProto()
    made.CopyFrom(featured)
    graph = made.graph
    name = FEATURES
    for i, (weight, bias) in enumerate(layers):
        for what, value in (("weight", weight), ("bias", bias)):
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), f"familiarity.{i}.{what}"))
        parameters = [f"familiarity.{i}.weight", f"familiarity.{i}.bias"]
        graph.node.append(helper.make_node("Gemm", [name, *parameters], [f"familiarity_{i}"], transB=1))
        name = f"familiarity_{i}"
        if i < len(layers) - 1:
            graph.node.append(helper.make_node("Relu", [name], [f"{name}_relu"]))
            name = f"{name}_relu"
    for limit, value in (("least", 0), ("most", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"familiarity_{limit}"))
    graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "familiarity_shape"))
    graph.node.append(helper.make_node("Clip", [name, "familiarity_least", "familiarity_most"], ["familiarity_share"]))
    graph.node.append(helper.make_node("Reshape", ["familiarity_share", "familiarity_shape"], [OUTPUT]))
    del graph.output[1:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch"]))
    onnx.checker.check_model(made)
    return made
