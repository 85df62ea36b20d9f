"""How well a model tells images of no class from those of its classes.

Letters in shapes: N images, M outliers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from clf_runtime.errors import ImageError
from clf_runtime.pipeline import Answer


@dataclass(frozen=True)
class Unknown:
    """Images and outliers told apart, by the familiarity and by the probability of the predicted class.

    AUROC is the probability that an image has the higher value of a random pair of an image and an outlier, half of
    ties counted (Hanley and McNeil, 1982, https://doi.org/10.1148/radiology.143.1.7063747); it is 0.5 by chance.
    `rejected` is the share of the images, `accepted` that of the outliers, of which the familiarity is below, and not
    below, the card's threshold. What needs a familiarity is None for a file without one, what needs outliers without
    these.
    """

    images: int
    outliers: int
    rejected: float | None
    accepted: float | None = None
    familiarity_auroc: float | None = None
    probability_auroc: float | None = None


def tell_apart(
    probability: np.ndarray,
    familiarity: np.ndarray | None,
    outliers: Iterable[Answer] | None,
    threshold: float | None,
) -> Unknown:
    """Compare images, of which these are the probabilities and familiarities [N], with outliers as they were answered.

    Raises the error of an outlier that could not be answered; ImageError if there are none.
    """
    rejected = None
    if familiarity is not None and threshold is not None:
        rejected = float((familiarity.astype(np.float64) < threshold).mean())
    if outliers is None:
        return Unknown(len(probability), 0, rejected)
    probabilities, familiarities = [], []
    for answer in outliers:
        if answer.prediction is None:
            raise answer.error or ImageError(f"{answer.image}: no answer")
        probabilities.append(answer.prediction.probability)
        familiarities.append(answer.prediction.familiarity)
    if not probabilities:
        raise ImageError("--outliers: no images found; it takes a folder, or a file")
    accepted = by_familiarity = None
    if familiarity is not None and threshold is not None:
        foreign = np.array(familiarities, np.float64)
        by_familiarity = auroc(familiarity, foreign)
        accepted = float((foreign >= threshold).mean())
    by_probability = auroc(probability, np.array(probabilities, np.float64))
    return Unknown(len(probability), len(probabilities), rejected, accepted, by_familiarity, by_probability)


def auroc(known: np.ndarray, foreign: np.ndarray) -> float:
    """The area under the ROC curve of a value that should be higher for `known` [N] than for `foreign` [M] images."""
    ordered = np.sort(foreign.astype(np.float64))
    values = known.astype(np.float64)
    below, upto = np.searchsorted(ordered, values), np.searchsorted(ordered, values, side="right")
    return float((below + upto).sum() / (2 * len(values) * len(ordered)))
