"""What a training gives besides the net's weights: its epochs, how a head was fitted, predictions out of fold.

Letters in shapes: N training images, K classes.
"""

from dataclasses import dataclass

import numpy as np

from clf_train.loop.checkpoint import Epoch


@dataclass(frozen=True)
class HeadFit:
    """How the head of a pretrained net was fitted: see head.py.

    `penalty` is that of the weights, chosen by the predictions for `images` images that they were not fitted to: those
    of each of so many `folds` in turn, or, where there are none (0), the images held out.
    """

    penalty: float
    folds: int
    images: int


@dataclass(frozen=True)
class OutOfFold:
    """Scores for every training image by a net that had not seen it.

    `scores` are float32 [N, K], `fold` int64 [N] is which of the nets each is of, and `epochs` how many epochs each net
    had been trained for, chosen by the other folds.
    """

    scores: np.ndarray
    fold: np.ndarray
    epochs: tuple[int, ...]


@dataclass(frozen=True)
class Fit:
    """The result of a training: its epochs, and the one whose weights the net has.

    `head` says how a head was fitted without gradient steps. `temperature` and the predictions `out_of_fold` are those
    of a training in folds, or of a head that was fitted in folds.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    head: HeadFit | None = None
    temperature: float | None = None
    out_of_fold: OutOfFold | None = None
