"""How well a model tells images of no class from those of its classes.

Letters in shapes: N images, M outliers.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from clf_runtime.datasets.pictures import naming
from clf_runtime.errors import ImageError
from clf_runtime.inputs.paths import ARRAYS
from clf_runtime.pipeline import Answer


@dataclass(frozen=True)
class Unknown:
    """Images and outliers told apart, by the familiarity and by the probability of the predicted class.

    AUROC is the probability that an image has the higher value of a random pair of an image and an outlier, half of
    ties counted (Hanley and McNeil, 1982, https://doi.org/10.1148/radiology.143.1.7063747); it is 0.5 by chance.
    `rejected` is the share of the images, `accepted` that of the outliers, of which the familiarity is below, and not
    below, the card's threshold. What needs a familiarity is None for a file without one, what needs outliers without
    these. `skipped` are the pictures among the outliers that were skipped since they cannot be decoded.
    """

    images: int
    outliers: int
    rejected: float | None
    accepted: float | None = None
    familiarity_auroc: float | None = None
    probability_auroc: float | None = None
    skipped: tuple[str, ...] = ()


def tell_apart(
    probability: np.ndarray,
    familiarity: np.ndarray | None,
    outliers: Iterable[Answer] | None,
    threshold: float | None,
    *,
    where: str = "outliers",
    skip_bad: bool = False,
) -> Unknown:
    """Compare images, of which these are the probabilities and familiarities [N], with outliers as they were answered.

    With `skip_bad` pictures among these that cannot be decoded are skipped.
    Raises ImageError, naming `where`, for pictures that cannot be decoded, which it lists, or if there are no others;
    the error of anything else that could not be answered.
    """
    rejected = None
    if familiarity is not None and threshold is not None:
        rejected = float((familiarity.astype(np.float64) < threshold).mean())
    if outliers is None:
        return Unknown(len(probability), 0, rejected)
    probabilities, familiarities = [], []
    broken: list[tuple[str, ImageError]] = []
    for answer in outliers:
        if answer.prediction is None:
            error = answer.error or ImageError(f"{answer.image}: no answer")
            is_picture = answer.index is None and not answer.image.lower().endswith(ARRAYS)
            if not isinstance(error, ImageError) or not is_picture or not os.path.isfile(answer.image):
                raise error
            broken.append((answer.image, ImageError(str(error))))
            continue
        probabilities.append(answer.prediction.probability)
        familiarities.append(answer.prediction.familiarity)
    if broken and not skip_bad:
        raise naming(where, broken)
    if not probabilities:
        none = f"none of {len(broken):,} pictures can be decoded: {broken[0][1]}" if broken else "no images found"
        raise ImageError(f"{where}: {none}")
    accepted = by_familiarity = None
    if familiarity is not None and threshold is not None:
        foreign = np.array(familiarities, np.float64)
        by_familiarity = auroc(familiarity, foreign)
        accepted = float((foreign >= threshold).mean())
    by_probability = auroc(probability, np.array(probabilities, np.float64))
    skipped = tuple(image for image, _ in broken)
    return Unknown(len(probability), len(probabilities), rejected, accepted, by_familiarity, by_probability, skipped)


def auroc(known: np.ndarray, foreign: np.ndarray) -> float:
    """The area under the ROC curve of a value that should be higher for `known` [N] than for `foreign` [M] images."""
    ordered = np.sort(foreign.astype(np.float64))
    values = known.astype(np.float64)
    below, upto = np.searchsorted(ordered, values), np.searchsorted(ordered, values, side="right")
    return float((below + upto).sum() / (2 * len(values) * len(ordered)))
