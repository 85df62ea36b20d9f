"""Calibration: temperature scaling, and the calibration error.

Guo, Pleiss, Sun and Weinberger, 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599.
Letters in shapes: N images, K classes.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clf_runtime.evaluation.scores import Bin, score

ENOUGH_TO_CALIBRATE = 200  # validation images; a temperature that is fitted to fewer is mostly noise
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_MOST_SCORES = 1 << 25  # scores for fitting a temperature: 3 million images of ten classes, 1,677 of 20,000


@dataclass(frozen=True)
class Coverage:
    """The accuracy on the fraction of images with the highest confidence, and the lowest probability among them."""

    share: float
    accuracy: float
    threshold: float


@dataclass(frozen=True)
class Calibration:
    """The calibration of the probabilities on the test images.

    `error_before` is the expected calibration error at a temperature of 1, `error` at the fitted one, both in 0..1;
    `bins` (the non-empty ones) and `coverage` are for the fitted one.
    """

    error_before: float
    error: float
    bins: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]


def images_to_fit(images: int, classes: int) -> int:
    """How many of the held-out images are used to fit the temperature: all, unless there are many classes."""
    return min(images, max(ENOUGH_TO_CALIBRATE, _MOST_SCORES // classes))


def fit_temperature(scores: Tensor, labels: np.ndarray) -> float:
    """The temperature that minimises the mean cross-entropy of scores, float32 [N, K], for labels, int64 [N].

    Found by a search over its logarithm between 0.05 and 20, in which the cross-entropy has a single minimum.
    """
    from scipy.optimize import minimize_scalar

    y, scores = torch.from_numpy(labels), scores.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(scores / math.exp(log_temperature), y))

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded", options={"xatol": 1e-5})
    return math.exp(found.x)


def calibration(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Calibration:
    """Measure probabilities, float32 [N, K], at a temperature of 1 and at the fitted one, against int64 [N] labels."""
    fitted = score(after, labels)
    return Calibration(
        error_before=score(before, labels).calibration_error,
        error=fitted.calibration_error,
        bins=fitted.bins,
        coverage=accuracy_by_coverage(after, labels),
    )


def accuracy_by_coverage(probabilities: np.ndarray, labels: np.ndarray) -> tuple[Coverage, ...]:
    """The accuracy by coverage: on the fraction of images with the highest confidence."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    rows = []
    for share in COVERAGES:
        count = max(1, round(share * len(labels)))
        rows.append(Coverage(share, float(right[:count].mean()), float(confidence[order[count - 1]])))
    return tuple(rows)
