"""Windows over a stream: each is tested once, and so rarely wrong that a week of them hardly ever is.

Windows of 256 images notice a great change soon; four of them make one of 1,024, and so on up to 262,144, which notice
a small one. Windows of a length do not overlap, and it takes two in a row for a change. How much the images resemble
each other is measured between windows in a row, of two lengths or more, so nothing is said before 8,192 images.
"""

from collections import deque
from collections.abc import Iterator
from typing import Literal

import numpy as np

from clf_runtime.model.reference import BINS, Reference
from clf_runtime.monitoring.two_samples import Comparison, compare, design_effect

LEAST = 256  # images of the shortest window
_LEVELS = 6
_FACTOR = 4  # by which a window is longer than the next shorter one
_GROUP = 8  # windows in a row, between which the variance is measured
_MEMORY = 64  # groups
_SETTLED = 10  # images that are not alike, in the longest windows measured, for the variance to be known
FIRST = LEAST * _FACTOR * _GROUP  # images before the first test
_WEEK = 7 * 24 * 3600  # images of a week, at one a second
# False alarms a week, of both questions and windows of every length together (Bonferroni), if the F distribution were
# exact. It is not where images resemble each other: docs/drift.md has what was simulated.
_FALSE_ALARMS = 0.001
_LEAST_DISTANCE = 0.1  # of shares: less is noticed in long windows, and no reason to act
_PRIOR = 5.0  # images as in the whole reference that each class has beside its own


Question = Literal["appearance", "mix"]


class Windows:
    """The windows over a stream of images, each of a predicted class and a bin of the reference.

    Two questions are asked of each: `appearance` compares the values with those of held-out images of the same
    predicted classes, whatever the mix of the classes; `mix` compares the predicted classes, where the reference counts
    them. `tested` says whether either could be answered yet.
    """

    def __init__(self, reference: Reference) -> None:
        counts = np.array(reference.counts, np.float64)
        self._sizes = counts.sum(axis=1) + _PRIOR  # [rows]
        self._shares = (counts + _PRIOR * counts.sum(axis=0) / counts.sum()) / self._sizes[:, None]  # [rows, BINS]
        self._mix = counts.sum(axis=1) / counts.sum()  # [rows]
        self._images = counts.sum()
        self._questions: tuple[Question, ...] = ("appearance", "mix") if len(self._mix) > 1 else ("appearance",)
        self._held: list[list[np.ndarray]] = [[] for _ in range(_LEVELS)]  # windows of each length, up to a group
        # By question: the design effects of the groups of each length, and whether the last window of it was a change.
        self._effects = {q: [deque[float](maxlen=_MEMORY) for _ in range(_LEVELS)] for q in self._questions}
        self._suspected = {q: [False] * _LEVELS for q in self._questions}
        self.tested = False

    def add(self, classes: np.ndarray, bins: np.ndarray) -> dict[Question, Comparison]:
        """Add the predicted classes and the bins of the next 256 images, both int64 [256].

        Returns the questions to which the answer is that the images have changed, with the comparison that says so.
        """
        looks = np.count_nonzero((np.diff(classes) != 0) | (np.abs(np.diff(bins)) > 1))
        mix = np.bincount(classes, minlength=len(self._mix)) if len(self._mix) > 1 else [len(classes)]
        window = np.concatenate([[looks], np.bincount(bins, minlength=BINS), mix]).astype(np.float64)
        changes: dict[Question, Comparison] = {}
        for level, whole in self._complete(0, window):
            for question in self._questions:
                found = self._compare(question, level, whole)
                is_change = found is not None and _is_change(found, level)
                if found is not None and is_change and self._suspected[question][level]:
                    changes[question] = found
                self._suspected[question][level] = is_change
        return changes

    def _complete(self, level: int, window: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield a window [1 + BINS + rows] of a level, and those of the next ones of which it is the last part."""
        held = self._held[level]
        held.append(window)
        if len(held) == _GROUP:
            group = np.stack(held)
            for question, effects in self._effects.items():
                observed, expected, _ = self._counts(question, group)
                effects[level].append(design_effect(observed, expected))
        yield level, window
        if len(held) % _FACTOR == 0 and level + 1 < _LEVELS:
            yield from self._complete(level + 1, np.sum(held[-_FACTOR:], axis=0))
        if len(held) == _GROUP:
            held.clear()

    def _counts(self, question: Question, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Of windows [..., 1 + BINS + rows]: the observed counts, the expected ones, and the variance of these."""
        bins, mix = windows[..., 1 : 1 + BINS], windows[..., 1 + BINS :]
        images = mix.sum(axis=-1, keepdims=True)
        if question == "mix":
            return mix, images * self._mix, float(1 / self._images)
        shares = mix.reshape(-1, len(self._mix)).sum(axis=0) / images.sum()
        return bins, mix @ self._shares, float((shares**2 / self._sizes).sum())

    def _compare(self, question: Question, level: int, window: np.ndarray) -> Comparison | None:
        """The comparison of a window; None where it is not known how much the images resemble each other."""
        known = [sum(effects) / len(effects) for effects in self._effects[question] if effects]
        if len(known) < 2 or _SETTLED * max(known) > LEAST * _FACTOR ** (len(known) - 1):
            return None
        self.tested = True
        still = LEAST * _FACTOR**level / max(1, window[0])  # the same answer again hardly counts
        observed, expected, per_image = self._counts(question, window)
        return compare(observed, expected, max(still, *known), _GROUP, per_image)


def _is_change(found: Comparison, level: int) -> bool:
    """Whether a comparison is a change, if that of the next window of the level is one too."""
    both = _FALSE_ALARMS / (2 * _LEVELS) * LEAST * _FACTOR**level / _WEEK  # the chance of two in a row
    return found.p_value**2 < both and found.distance > _LEAST_DISTANCE
