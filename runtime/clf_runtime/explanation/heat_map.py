"""A heat map drawn over its image, and the two side by side."""

import numpy as np

_LEAST_SIDE = 256  # pixels of the picture's shorter side: small images are enlarged, each pixel to a square,
_MOST_SIDE = 2048  # but not beyond this
_FOR, _AGAINST = (230, 30, 20), (20, 90, 230)  # red where it speaks for the class, blue where against it
_FADED = 0.45  # of the contrast that the image keeps below the colours
_STRONGEST = 0.85  # of the colour at the strongest place
_GAP = 8  # pixels between the two


def beside(image: np.ndarray, heat: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """The image, and beside it the heat map over it: uint8 [height, width, 3].

    Takes [channels, height, width] within `value_range`, and its heat, float32 [height, width].
    """
    shown = displayed(image, value_range)
    factor = max(1, min(-(-_LEAST_SIDE // min(heat.shape)), _MOST_SIDE // max(heat.shape)))
    left, right = (each.repeat(factor, 0).repeat(factor, 1) for each in (shown, overlay(shown, heat)))
    return np.concatenate([left, np.full((left.shape[0], _GAP, 3), 255, np.uint8), right], axis=1)


def overlay(shown: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The heat, float32 [height, width], in red and blue over uint8 [height, width, 3] in faint grey.

    The strongest place has the full colour, whatever its value; no heat at all leaves the grey image.
    """
    grey = shown.mean(axis=2, keepdims=True)
    faint = 255 * (1 - _FADED) / 2 + _FADED * grey
    strongest = float(np.abs(heat).max())
    strength = (heat / strongest if strongest > 0 else heat)[:, :, None]
    colour = np.where(strength > 0, _FOR, _AGAINST)
    mixed = faint + _STRONGEST * np.abs(strength) * (colour - faint)
    return np.asarray(np.rint(mixed).astype(np.uint8))


def displayed(image: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """An image [channels, height, width] as uint8 [height, width, 3]: RGB, or the mean of other channels as grey."""
    low, high = value_range
    values = (image.astype(np.float32) - low) * (255 / (high - low))
    if len(values) != 3:
        values = values.mean(axis=0, keepdims=True).repeat(3, axis=0)
    return np.asarray(np.rint(values.clip(0, 255)).astype(np.uint8).transpose(1, 2, 0))
