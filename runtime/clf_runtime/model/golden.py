"""The images of a card's golden cases."""

import numpy as np

from clf_runtime.model.card import ModelCard
from clf_runtime.model.records import Golden


def golden_images(golden: Golden, card: ModelCard) -> np.ndarray:
    """The images of golden cases, [cases, *input_shape] in the card's dtype."""
    dtype = np.dtype(card.dtype)
    return np.frombuffer(golden.images, dtype.newbyteorder("<")).reshape(-1, *card.input_shape).astype(dtype)
