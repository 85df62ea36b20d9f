"""The images for making an int8 net: some for calibration, others for the choice among settings, none of the test."""

from dataclasses import dataclass

import numpy as np

from clf_train.data import spill
from clf_train.data.dataset import Dataset
from clf_train.data.preparation import validation_rows
from clf_train.runs.run import Run

CALIBRATION_IMAGES = 1024
VALIDATION_IMAGES = 5000
_LEAST_IMAGES = 128, 1000  # of them where images are large,
_MOST_BYTES = 16 << 20, 512 << 20  # which together they are no more than, as float32
VALIDATION_SHARE = 0.1  # of the training images, where the run held out none


@dataclass(frozen=True)
class HeldOut:
    """Images, uint8 or float32 [N, C, H, W], for calibration and validation; `labels`, int64 [N], of the latter.

    `unseen` says whether the net was trained without the `validation` images.
    """

    calibration: np.ndarray
    validation: np.ndarray
    labels: np.ndarray
    unseen: bool


def choose_images(
    dataset: Dataset,
    run: Run,
    *,
    most_calibration: int = CALIBRATION_IMAGES,
    most_validation: int = VALIDATION_IMAGES,
) -> HeldOut:
    """Choose from the training part of `dataset`, deterministically by the run's seed.

    The validation images are those that the run held out, or a tenth of the training images if it held out none, at
    most `most_validation`. At most `most_calibration` of the others are for calibration. Both are fewer if images are
    large, stratified by class, and disjoint. The test part is not used.
    Raises DataError if there is no room for copies: see spill.
    """
    labels = dataset.train.labels
    random = np.random.default_rng(run.seed)
    everything = np.arange(len(labels))
    held_out = validation_rows(dataset, run.recipe, run.seed)
    if held_out is None:
        validation = spread(everything, labels, max(1, round(VALIDATION_SHARE * len(labels))), random)
    else:
        validation = held_out
    others = np.setdiff1d(everything, validation)
    images = dataset.train.images
    most_calibration, most_validation = (
        min(most, max(least, most_bytes // (4 * images[0].size)))
        for most, least, most_bytes in zip((most_calibration, most_validation), _LEAST_IMAGES, _MOST_BYTES, strict=True)
    )
    validation = spread(validation, labels, most_validation, random)
    calibration = spread(others, labels, most_calibration, random)
    return HeldOut(
        spill.take(images, calibration), spill.take(images, validation), labels[validation], held_out is not None
    )


def spread(rows: np.ndarray, labels: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    """At most `most` of some rows, sorted: a random sample, stratified by class."""
    if len(rows) <= most:
        return rows
    shuffled = random.permutation(rows)
    place = np.empty(len(rows))
    for label in np.unique(labels[rows]):
        of_class = np.flatnonzero(labels[shuffled] == label)
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    return np.sort(shuffled[np.argsort(place, kind="stable")[:most]])
