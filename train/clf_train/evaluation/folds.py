"""A training in folds, measured: the accuracy of each, their mean and spread.

Letters in shapes: N images, K classes.
"""

from dataclasses import dataclass

import numpy as np
import torch

from clf_runtime.evaluation.interval import wilson
from clf_train.evaluation.calibration import fit_temperature, images_to_fit
from clf_train.evaluation.inference import softmax


@dataclass(frozen=True)
class Folds:
    """The predictions for every training image by one of several nets that had not seen it.

    `images`, `accuracies` and `epochs` are of each fold: how many images, the fraction of them that were classified
    correctly, and how many epochs the net had been trained for. `accuracy` is over all images, `mean` and `deviation`
    are the mean and the standard deviation of the accuracies: how much these depend on the images, and not an error
    of the mean, which nets that share most of their images have none of (Bengio and Grandvalet, 2004, "No unbiased
    estimator of the variance of k-fold cross-validation"). `stands_in` says that there is no test part, so that the
    test of the run is of these predictions.
    """

    images: tuple[int, ...]
    accuracies: tuple[float, ...]
    epochs: tuple[int, ...]
    accuracy: float
    mean: float
    deviation: float
    stands_in: bool


def measure_folds(
    scores: np.ndarray, labels: np.ndarray, fold: np.ndarray, epochs: tuple[int, ...], *, stands_in: bool
) -> Folds:
    """Measure scores, float32 [N, K], of images with labels and numbers of folds, int64 [N] each."""
    right = scores.argmax(axis=1) == labels
    accuracies = [float(right[fold == i].mean()) for i in range(len(epochs))]
    return Folds(
        tuple(np.bincount(fold).tolist()),
        tuple(accuracies),
        epochs,
        float(right.mean()),
        float(np.mean(accuracies)),
        float(np.std(accuracies, ddof=1)),
        stands_in,
    )


def has_failed(right: int, folds: Folds) -> bool:
    """Whether a net knows surely less of the images that it was trained on, of which `right` are right, than the folds.

    Surely is: the two intervals (see clf_runtime.evaluation.interval) have nothing in common. Such a net has not learnt
    what the nets of the folds have, and their accuracy does not hold for it.
    """
    images = sum(folds.images)
    return wilson(right, images)[1] < wilson(round(folds.accuracy * images), images)[0]


def temperature_of(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of scores [N, K] for labels int64 [N], fitted to some of them where there are many classes."""
    few = images_to_fit(len(labels), scores.shape[1])
    rows = np.arange(few) * len(labels) // few
    return fit_temperature(torch.from_numpy(scores[rows]), labels[rows])


def held_out_probabilities(scores: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Probabilities, float32 [N, K], of each fold's scores at the temperature that was fitted to the other folds."""
    probabilities = np.empty(scores.shape, np.float32)
    for i in range(int(fold.max()) + 1):
        rest = fold != i
        temperature = temperature_of(scores[rest], labels[rest])
        probabilities[~rest] = softmax(torch.from_numpy(scores[~rest]), temperature)
    return probabilities
