"""What is fitted to the user's images: a familiarity, and the images by which int8 is made and judged."""

import numpy as np
import onnx

from clf_export.adoption.pictures import Pictures
from clf_export.errors import FamiliarityError
from clf_export.familiarity.fit import with_familiarity
from clf_export.familiarity.images import LEAST_HELD_OUT, Images, with_outliers
from clf_export.int8.held_out import CALIBRATION_IMAGES, VALIDATION_IMAGES, HeldOut, spread
from clf_runtime.errors import brief
from clf_runtime.model.familiarity import Familiarity
from clf_train.data import spill

SEED = 0
_KNOWN = 10_000  # images that a familiarity is fitted to, at most
_HELD_OUT_SHARE = 0.25  # of the images that are not tested, for the familiarity; half of them judge int8
_RANGE = (0.0, 255.0)


def familiar_images(pictures: Pictures, classes: np.ndarray) -> Images:
    """The images of a familiarity, from those that are not tested; `classes`, int64 [N], are their labels or answers.

    Raises FamiliarityError if they are too few.
    """
    random = np.random.default_rng(SEED)
    rest = pictures.rest
    held_out = spread(rest, classes, round(_HELD_OUT_SHARE * len(rest)), random)
    if len(held_out) < LEAST_HELD_OUT:
        found = f"{len(pictures.images):,} images, {len(pictures.test):,} of them tested, are too few"
        raise FamiliarityError(f"{found}: {round(LEAST_HELD_OUT / _HELD_OUT_SHARE)} others are needed")
    known = spread(np.setdiff1d(rest, held_out), classes, _KNOWN, random)
    images = pictures.images
    return with_outliers(spill.take(images, known), spill.take(images, held_out), True, _RANGE, random)


def fitted(model: onnx.ModelProto, known: Images) -> tuple[onnx.ModelProto, Familiarity]:
    """The model with a familiarity, see familiarity.fit. Raises FamiliarityError if its graph allows none."""
    last = next(node for node in model.graph.node if model.graph.output[0].name in node.output)
    if last.op_type != "Softmax":
        raise FamiliarityError(f"its graph ends in {last.op_type}, not in a softmax of logits")
    try:
        return with_familiarity(model, known)
    except FamiliarityError:
        raise
    except Exception as error:  # a foreign graph may be one whose features cannot be read
        raise FamiliarityError(f"its layers cannot be read: {brief(error, 120)}") from None


def held_out_images(pictures: Pictures, labels: np.ndarray) -> HeldOut:
    """The images for an int8 version, disjoint: half of those that are not tested judge it; labels are int64 [N]."""
    random = np.random.default_rng(SEED)
    rest, images = pictures.rest, pictures.images
    validation = spread(rest, labels, min(VALIDATION_IMAGES, len(rest) // 2), random)
    calibration = spread(np.setdiff1d(rest, validation), labels, CALIBRATION_IMAGES, random)
    return HeldOut(spill.take(images, calibration), spill.take(images, validation), labels[validation], unseen=True)
