"""Occlusion: cover a patch of the image, see how the class's score changes, and do so all over the image.

Zeiler and Fergus, 2014, Visualizing and understanding convolutional networks, ECCV, section 4.2. It needs nothing but
probabilities, so it works with any engine, and the desk and the device share this module.

The patch is covered with the mean colour of its surroundings. The mean of the image, or grey, would put an object where
there was none: on a plain background that matters more than what was covered (benchmarks/explain.py compares them).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Scores = Callable[[np.ndarray], np.ndarray]
"""Takes images [n, channels, height, width] of one dtype, and returns their probabilities, float32 [n, classes]."""

Patch = tuple[int, int, int, int]  # top, left, bottom, right: of rows and columns, the last two exclusive
Cover = Callable[[np.ndarray, Patch], np.ndarray]
"""Takes an image [channels, height, width] and a patch; returns its values, to broadcast to [channels, h, w]."""

_STEPS = 16  # of the patch along a side
_AT_ONCE = 64  # images that are scored together,
_MOST_BYTES = 8 << 20  # fewer if they are large: what a net makes of them may be ten times as large
_TINY = 1e-30  # of a probability


@dataclass(frozen=True)
class Occlusion:
    """How much each place of an image speaks for the class `index`, which had the probability `probability`.

    `heat`, float32 [height, width], is by how much the log-odds of the class, ln(p / (1 - p)) in nats, fall when a
    patch there is covered: the mean over the patches that cover the pixel, negative where it speaks against the class.
    Log-odds rather than the probability, which hardly moves near 0 and 1. A patch is `patch` (height, width) pixels,
    `runs` of them were tried.
    """

    heat: np.ndarray
    index: int
    probability: float
    patch: tuple[int, int]
    runs: int


def occlude(image: np.ndarray, scores: Scores, index: int | None = None, *, cover: Cover | None = None) -> Occlusion:
    """Find where an image [channels, height, width], uint8 or float32, speaks for a class, by default the likeliest.

    A patch is an eighth of each side (at least two pixels, one at the edges) and moves by half of that, so that every
    pixel is covered by four: 17 x 17 patches where the sides are multiples of 16, and at most 24 x 24. `cover` is what
    a patch is covered with, by default `surroundings`.
    Raises what `scores` raises.
    """
    before = scores(image[None])[0]
    index = int(before.argmax()) if index is None else index
    steps = (_step(image.shape[1]), _step(image.shape[2]))
    patches = list(_patches(image.shape[1:], steps))
    drops = _log_odds(before[None], index)[0] - _covered(image, patches, scores, index, cover or surroundings)
    total, count = np.zeros(image.shape[1:]), np.zeros(image.shape[1:])
    for (top, left, bottom, right), drop in zip(patches, drops, strict=True):
        total[top:bottom, left:right] += drop
        count[top:bottom, left:right] += 1
    patch = (min(2 * steps[0], image.shape[1]), min(2 * steps[1], image.shape[2]))
    return Occlusion((total / count).astype(np.float32), index, float(before[index]), patch, len(patches))


def surroundings(image: np.ndarray, patch: Patch) -> np.ndarray:
    """The mean colour around a patch, float64 [channels, 1, 1]: of the area three times as high and wide, without it.

    If the patch is the whole image, its own mean.
    """
    top, left, bottom, right = patch
    high, wide = bottom - top, right - left
    area = image[:, max(top - high, 0) : bottom + high, max(left - wide, 0) : right + wide]
    inner = image[:, top:bottom, left:right]
    count = area[0].size - inner[0].size
    if not count:
        return np.asarray(area.mean((1, 2), dtype=np.float64, keepdims=True))
    total = area.sum((1, 2), dtype=np.float64, keepdims=True) - inner.sum((1, 2), dtype=np.float64, keepdims=True)
    return np.asarray(total / count)


def _step(side: int) -> int:
    return max(1, round(side / _STEPS))


def _patches(size: tuple[int, ...], steps: tuple[int, int]) -> Iterator[Patch]:
    """Patches of twice the step, from one that lies half outside of the first corner to one half outside the last."""
    (height, width), (down, along) = size, steps
    for top in range(-down, height, down):
        for left in range(-along, width, along):
            yield max(top, 0), max(left, 0), min(top + 2 * down, height), min(left + 2 * along, width)


def _covered(image: np.ndarray, patches: list[Patch], scores: Scores, index: int, cover: Cover) -> np.ndarray:
    """The log-odds of the class with each of the patches covered, float64 [patches]."""
    at_once = max(1, min(_AT_ONCE, _MOST_BYTES // (4 * image.size)))
    found = []
    for first in range(0, len(patches), at_once):
        few = patches[first : first + at_once]
        images = np.repeat(image[None], len(few), axis=0)
        for one, (top, left, bottom, right) in zip(images, few, strict=True):
            values = cover(image, (top, left, bottom, right))
            one[:, top:bottom, left:right] = np.rint(values) if image.dtype == np.uint8 else values
        found.append(_log_odds(scores(images), index))
    return np.concatenate(found)


def _log_odds(probabilities: np.ndarray, index: int) -> np.ndarray:
    """ln(p / (1 - p)) of a class, float64 [n]; 1 - p is the sum of the others, which rounding does not make 0."""
    rows = probabilities.astype(np.float64)
    others = np.delete(rows, index, axis=1).sum(axis=1)
    return np.asarray(np.log(rows[:, index] + _TINY) - np.log(others + _TINY))
