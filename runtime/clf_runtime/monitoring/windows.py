"""Windows over a stream: each is tested once, and so rarely wrong that a week of them hardly ever is.

Windows of 256 images notice a great change soon; four of them make one of 1,024, and so on up to 262,144, which notice
a small one. Windows of a length do not overlap, and it takes two in a row for a change. How much the images resemble
each other is measured between windows in a row, of two lengths or more, so nothing is said before 8,192 images.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clf_runtime.model.reference import BINS, Reference
from clf_runtime.monitoring.two_samples import Comparison, compare, design_effect

_LEAST = 256  # images of the shortest window
_LEVELS = 6
_FACTOR = 4  # by which a window is longer than the next shorter one
_GROUP = 8  # windows in a row, between which the variance is measured
_MEMORY = 64  # groups
_SETTLED = 10  # images that are not alike, in the longest windows measured, for the variance to be known
FIRST = _LEAST * _FACTOR * _GROUP  # images before the first test
_WEEK = 7 * 24 * 3600  # images of a week, at one a second
# False alarms a week, of both questions and windows of every length together (Bonferroni), if the F distribution were
# exact. It is not where images resemble each other: docs/drift.md has what was simulated.
_FALSE_ALARMS = 0.001
_LEAST_DISTANCE = 0.1  # of shares: less is noticed in long windows, and no reason to act
_PRIOR = 5.0  # images as in the whole reference that each class has beside its own


@dataclass(frozen=True)
class Window:
    """What was found in a window of `images`; None where their resemblance is not known well enough.

    `appearance` compares the values with those of held-out images of the same predicted classes, whatever the mix of
    the classes; `mix` compares the predicted classes, and is None too where the reference does not count them.
    """

    images: int
    appearance: Comparison | None
    mix: Comparison | None


class Windows:
    """The windows over a stream of images, each of a predicted class and a bin of the reference."""

    def __init__(self, reference: Reference) -> None:
        counts = np.array(reference.counts, np.float64)
        self._sizes = counts.sum(axis=1) + _PRIOR  # [rows]
        self._shares = (counts + _PRIOR * counts.sum(axis=0) / counts.sum()) / self._sizes[:, None]  # [rows, BINS]
        self._mix = counts.sum(axis=1) / counts.sum()  # [rows]
        self._images = counts.sum()
        self._classes: list[int] = []
        self._bins: list[int] = []
        self._last, self._looks = (-1, 0), 0
        self._rows: list[list[np.ndarray]] = [[] for _ in range(_LEVELS)]  # windows of each length, up to a group
        # The design effects of the groups of each length, of the appearance and of the mix.
        self._effects = [[deque[float](maxlen=_MEMORY) for _ in range(_LEVELS)] for _ in range(2)]

    def add(self, index: int, bin_: int) -> list[Window]:
        """Add an image of a predicted class and a bin; returns the windows that it completes, the shortest first."""
        last, last_bin = self._last
        if index != last or not -1 <= bin_ - last_bin <= 1:
            self._looks += 1
        self._last = index, bin_
        self._classes.append(index if len(self._mix) > 1 else 0)
        self._bins.append(bin_)
        if len(self._bins) < _LEAST:
            return []
        bins = np.bincount(self._bins, minlength=BINS)
        classes = np.bincount(self._classes, minlength=len(self._mix))
        window = np.concatenate([[self._looks], bins, classes]).astype(np.float64)
        self._classes, self._bins, self._looks = [], [], 0
        return list(self._complete(0, window))

    def _complete(self, level: int, window: np.ndarray) -> Iterator[Window]:
        """Test a window [1 + BINS + rows] of a level, and go on to the next one if it is the last of four."""
        held = self._rows[level]
        held.append(window)
        if len(held) == _GROUP:
            group = np.stack(held)
            for effects, (observed, expected, _) in zip(self._effects, self._questions(group), strict=False):
                effects[level].append(design_effect(observed, expected))
        yield self._test(level, window)
        if len(held) % _FACTOR == 0 and level + 1 < _LEVELS:
            yield from self._complete(level + 1, np.sum(held[-_FACTOR:], axis=0))
        if len(held) == _GROUP:
            held.clear()

    def _questions(self, windows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        """Of windows [..., 1 + BINS + rows]: what is observed, what expected, and the variance of the expectation.

        First for the appearance, then for the mix where the reference has one.
        """
        bins, mix = windows[..., 1 : 1 + BINS], windows[..., 1 + BINS :]
        images = mix.sum(axis=-1, keepdims=True)
        shares = mix.reshape(-1, len(self._mix)).sum(axis=0) / images.sum()
        yield bins, mix @ self._shares, float((shares**2 / self._sizes).sum())
        if len(self._mix) > 1:
            yield mix, images * self._mix, float(1 / self._images)

    def _test(self, level: int, window: np.ndarray) -> Window:
        images = _LEAST * _FACTOR**level
        still = images / max(window[0], 1)  # of images with the same answer as the one before, few count
        found: list[Comparison | None] = [None, None]
        for i, (observed, expected, per_image) in enumerate(self._questions(window)):
            known = [sum(effects) / len(effects) for effects in self._effects[i] if effects]
            if len(known) > 1 and _LEAST * _FACTOR ** (len(known) - 1) >= _SETTLED * max(known):
                found[i] = compare(observed, expected, max(still, *known), _GROUP, per_image)
        return Window(images, *found)


class Alarm:
    """Whether a question has been answered with a change, by two windows in a row of the same length."""

    def __init__(self) -> None:
        self._suspected: dict[int, bool] = {}

    def is_raised(self, images: int, found: Comparison | None) -> bool:
        """Whether what was `found` in a window of so many images makes it two in a row."""
        chance = _FALSE_ALARMS / (2 * _LEVELS) * images / _WEEK  # of two in a row, for each window
        before = self._suspected.get(images, False)
        now = found is not None and found.p_value**2 < chance and found.distance > _LEAST_DISTANCE
        self._suspected[images] = now
        return before and now
