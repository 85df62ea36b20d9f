"""What a card says of a familiarity beside its fit: the golden cases, and the answers for held-out images.

Letters in shapes: G golden cases, N images, C channels, H height, W width, K classes.
"""

from dataclasses import replace

import numpy as np

from clf_export.familiarity.images import FrozenImages, Images
from clf_export.familiarity.outputs import second_output
from clf_export.proof.evidence import Evidence
from clf_export.proof.golden import golden_images
from clf_export.proof.parity import TOLERANCE
from clf_runtime.model.familiarity import Familiarity
from clf_runtime.model.records import Golden
from clf_runtime.model.reference import Reference
from clf_runtime.monitoring.reference import fit_reference

LEAST_TOLERANCE = 0.01  # of a familiarity


def golden_cases(evidence: Evidence, known: Images | FrozenImages | None) -> np.ndarray:
    """The images of a file's golden cases, [G, C, H, W]: test images, and one that is foreign if there is any."""
    images = golden_images(evidence)
    return images if known is None or not len(images) else np.concatenate([images, known.foreign])


def with_golden(
    model: bytes, familiarity: Familiarity, golden: Golden | None, images: np.ndarray, known: Images | FrozenImages
) -> Familiarity:
    """The record with the familiarity of the golden cases' images [G, C, H, W], and what it may differ by on a device.

    That is ten times what it varies by here: images one at a time and all in a batch, with graph optimisations and
    without; at least `LEAST_TOLERANCE`, for an int8 file five times that.
    """
    if golden is None:
        return familiarity
    expected = second_output(model, images)
    others = (second_output(model, images, batch=1), second_output(model, images, optimised=False))
    varies = float(max(np.abs(expected - other).max() for other in others))
    least = LEAST_TOLERANCE * (5 if golden.tolerance > TOLERANCE else 1)
    values = tuple(np.clip(expected, 0, 1).tolist())
    foreign = int(np.array_equal(images[-1:], known.foreign))
    return replace(familiarity, golden=values, tolerance=min(0.1, max(least, 10 * varies)), foreign=foreign)


def reference_of(
    model: bytes, familiarity: Familiarity | None, probabilities: np.ndarray, images: np.ndarray
) -> Reference | None:
    """What a stream on a device is compared with: how a model answers test images [N, C, H, W].

    `probabilities`, float32 [N, K], are those that it gave them. None for fewer than a hundred images.
    """
    return fit_reference(probabilities, None if familiarity is None else second_output(model, images))
