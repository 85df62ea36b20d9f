"""What a measurement needs in a fresh process, kept light: synthetic images."""

import math

import numpy as np

from clf_runtime.model.card import ModelCard


def made_images(card: ModelCard, count: int) -> np.ndarray:
    """Images of pseudorandom values in the card's range, [count, ...] in its dtype and layout; deterministic.

    Without numpy.random, whose import takes longer than a model's first run.
    """
    shape = card.input_shape
    low, high = card.value_range
    values = np.arange(math.prod(shape), dtype=np.int64) * 40_503 % 65_537 / 65_536  # Knuth's multiplier
    one = (low + values * (high - low)).astype(card.dtype).reshape(shape)
    return np.stack([np.roll(one, i, axis=-1) for i in range(count)])
