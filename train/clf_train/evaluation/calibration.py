"""Probabilities that can be taken at their word: the softmax temperature that makes them so, and how far they are.

Guo, Pleiss, Sun and Weinberger, 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599.
Letters in shapes: N images, K classes.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clf_runtime.evaluation.scores import BINS, Bin, calibration_error

ENOUGH_TO_CALIBRATE = 200  # validation images; a temperature that is fitted to fewer is mostly noise
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_MOST_SCORES = 1 << 25  # numbers that a temperature is fitted to: 3 million images of ten classes, 1,677 of 20,000
_LOWEST, _HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Coverage:
    """The accuracy on the share of images that the model is surest of, and the lowest probability among them."""

    share: float
    accuracy: float
    threshold: float


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be taken at their word, on the test images.

    `error_before` is the expected calibration error at a temperature of 1, `error` at the fitted one, both in 0..1;
    `bins` (those that hold images) and `coverage` are of the fitted one.
    """

    error_before: float
    error: float
    bins: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]


def images_to_fit(images: int, classes: int) -> int:
    """How many of so many held-out images a temperature is fitted to: all, but where classes are many."""
    return min(images, max(ENOUGH_TO_CALIBRATE, _MOST_SCORES // classes))


def fit_temperature(scores: Tensor, labels: np.ndarray) -> float:
    """The temperature that gives labels, int64 [N], the least mean cross-entropy under scores, float32 [N, K].

    It is sought between 0.05 and 20, by golden section over its logarithm, in which the cross-entropy has one minimum.
    """
    y = torch.from_numpy(labels)
    scores = scores.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(scores / math.exp(log_temperature), y))

    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-4:
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - ratio * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + ratio * (high - low)
            loss_right = loss(right)
    return math.exp((low + high) / 2)


def calibration(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Calibration:
    """Measure probabilities, float32 [N, K], at a temperature of 1 and at the fitted one, against int64 [N] labels."""
    return Calibration(
        error_before=calibration_error(reliability(before, labels)),
        error=calibration_error(reliability(after, labels)),
        bins=tuple(b for b in reliability(after, labels) if b.images),
        coverage=accuracy_by_coverage(after, labels),
    )


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> list[Bin]:
    """Sort images into fifteen bins of equal width by the probability of the class that is named."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for i in range(BINS):
        of_bin = index == i
        count = int(of_bin.sum())
        means = (float(confidence[of_bin].mean()), float(right[of_bin].mean())) if count else (0.0, 0.0)
        bins.append(Bin(count, *means))
    return bins


def accuracy_by_coverage(probabilities: np.ndarray, labels: np.ndarray) -> tuple[Coverage, ...]:
    """What the accuracy is if only the surest share of the images is answered."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    rows = []
    for share in COVERAGES:
        count = max(1, round(share * len(labels)))
        rows.append(Coverage(share, float(right[:count].mean()), float(confidence[order[count - 1]])))
    return tuple(rows)
