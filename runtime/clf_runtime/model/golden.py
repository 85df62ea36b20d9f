"""The images of a card's golden cases."""

import numpy as np

from clf_runtime.model.card import Golden, ModelCard


def golden_images(golden: Golden, card: ModelCard) -> np.ndarray:
    """The images of golden cases, [cases, *image_shape] in the card's dtype, channels last where its layout is NHWC."""
    channels, height, width = card.image_shape
    shape = (height, width, channels) if card.layout == "NHWC" else (channels, height, width)
    return np.frombuffer(golden.images, np.dtype(card.dtype).newbyteorder("<")).reshape(-1, *shape).astype(card.dtype)
