"""Holding out a share of each class."""

import numpy as np

from clf_runtime.datasets.holdout import hold_out
from clf_train.data import spill
from clf_train.data.dataset import Split
from clf_train.errors import DataError


def split_off(split: Split, share: float, seed: int, where: str) -> tuple[Split, Split]:
    """Hold out a share of each class as a separate part; returns (the rest, the held out), copied, in file order.

    Raises DataError if a class has only one image, or if there is no room: see spill.
    """
    parts = split_rows(split.labels, share, seed, where)
    kept, held = (Split(spill.take(split.images, rows), split.labels[rows]) for rows in parts)
    return kept, held


def split_rows(labels: np.ndarray, share: float, seed: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Choose a share of each class at random from `seed`: the rows of the rest and of the chosen, int64, sorted.

    Raises DataError if a class has only one image.
    """
    counts = np.bincount(labels)
    for label in np.flatnonzero(counts == 1):
        raise DataError(f"{where}: class {label} has only one image, so none can be held out")
    held = hold_out(labels, share, seed)
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held
