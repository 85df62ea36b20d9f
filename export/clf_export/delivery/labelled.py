"""Images of the user for a delivery that is calibrated: some of the training part, and others to measure it by.

Letters in shapes: M and N images, C channels, H height, W width.
"""

from dataclasses import dataclass

import numpy as np

from clf_export.errors import DeliveryError
from clf_runtime.model.card import ModelCard
from clf_train.data.sources import read_source

_CALIBRATION, _TESTED = 200, 1000  # images at most


@dataclass(frozen=True)
class LabelledImages:
    """`calibration` images [M, C, H, W], and `tested` ones [N, C, H, W] with their labels int64 [N]."""

    calibration: np.ndarray
    tested: np.ndarray
    labels: np.ndarray


def read_labelled(data: str, card: ModelCard) -> LabelledImages:
    """Random images of the training and of the test part of a source, as the model takes them.

    Raises DataError if it cannot be read, DeliveryError if its images or classes are not the model's.
    """
    read = read_source(data, size=card.image_shape[1:], geometry=card.picture_geometry)
    if (read.image_shape, read.dtype) != (card.image_shape, card.dtype) or read.names != card.names:
        raise DeliveryError(f"{data}: its images or its classes are not those of the model")
    random = np.random.default_rng(0)

    def some(count: int, most: int) -> np.ndarray:
        return np.sort(random.permutation(count)[:most])

    tested = some(len(read.test), _TESTED)
    calibration = read.train.images[some(len(read.train), _CALIBRATION)]
    return LabelledImages(calibration, read.test.images[tested], read.test.labels[tested])
