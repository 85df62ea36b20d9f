"""A model with a familiarity: fitted from the training images, and added to the graph as its second output.

Letters in shapes: N images, D features.
"""

from typing import Literal

import numpy as np
import onnx

from clf_export.errors import FamiliarityError
from clf_export.familiarity.append import append_net
from clf_export.familiarity.features import with_features, with_few_features
from clf_export.familiarity.images import FrozenImages, Images
from clf_export.familiarity.neighbours import with_neighbours
from clf_export.familiarity.outputs import second_output
from clf_export.familiarity.scores import distil, fit_score
from clf_runtime.model.familiarity import Familiarity

FamiliarityMode = Literal["auto", "off"]
UNFAMILIAR = 0.05  # the share of held-out images that are called unknown, or with examples of what is no class, one of
_THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1)
_GIVEN_SHARE = 1.0  # as many rows as there are made outliers: tried 0.1, 0.3 and 1 of 50 and 300 examples


def with_familiarity(model: onnx.ModelProto, images: Images | FrozenImages) -> tuple[onnx.ModelProto, Familiarity]:
    """The model with a second output, `familiarity`, float32 [batch] in 0..1, and what the card says of it.

    It is the share of the held-out images that are less familiar. The first output does not change.
    Raises FamiliarityError if the held-out images are all equally familiar, or features are not finite; ModelError if
    onnxruntime cannot run the model.
    """
    if isinstance(images, FrozenImages):
        made, held_out, unseen = with_neighbours(model, images), len(images.known), True
    else:
        made, held_out, unseen = _with_net(model, images), len(images.held_out), images.unseen
    data = made.SerializeToString()
    made_ones = [second_output(data, these) for these in images.fresh.values()]
    given = second_output(data, images.fresh_given) if len(images.fresh_given) else np.zeros(0)
    threshold = _threshold(given)
    return made, Familiarity(
        threshold=threshold,
        images=held_out,
        unseen=unseen,
        outliers=min(map(len, made_ones)),
        kinds=tuple(images.fresh),
        noticed=tuple(float((familiarity < threshold).mean()) for familiarity in made_ones),
        given=len(given),
        given_noticed=float((given < threshold).mean()) if len(given) else 0.0,
        examples=len(images.given),
    )


def _threshold(given: np.ndarray) -> float:
    """The threshold at which the share of examples [M] that are noticed exceeds that of known images the most."""
    if not len(given):
        return UNFAMILIAR
    return max(_THRESHOLDS, key=lambda threshold: float((given < threshold).mean()) - threshold)


def _with_net(model: onnx.ModelProto, images: Images) -> onnx.ModelProto:
    """The model with a small net behind few of its features, which was taught by a score of all of them."""
    data = with_features(model).SerializeToString()
    known, held_out = second_output(data, images.known), second_output(data, images.held_out)
    unknown = np.concatenate([second_output(data, made) for made in images.outliers.values()])
    if len(images.given):
        given = second_output(data, images.given)
        rows = np.arange(max(len(given), round(_GIVEN_SHARE * len(unknown)))) % len(given)
        unknown = np.concatenate([unknown, given[rows]])
    if not all(np.isfinite(features).all() for features in (known, held_out, unknown)):
        raise FamiliarityError("the net's layers give values that are not finite")
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6

    def standard(features: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = ((features - mean) / deviation).astype(np.float32)
        return scaled

    score = fit_score(standard(known), standard(unknown), standard(held_out))
    few, columns = with_few_features(model)
    net = distil(score, standard(known), standard(unknown), columns)
    return append_net(few, net, mean[columns], deviation[columns], held_out[:, columns])
