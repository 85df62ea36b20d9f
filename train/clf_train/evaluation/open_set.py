"""How well images of left-out classes are told from those of the others, by the scores of a net that knows the others.

The largest probability of a softmax is the usual measure (Hendrycks and Gimpel, 2017, "A baseline for detecting
misclassified and out-of-distribution examples", https://arxiv.org/abs/1610.02136); the largest logit is often a little
better (Vaze et al., 2022, https://arxiv.org/abs/2110.06207), and what the familiarity of an exported file follows.

Letters in shapes: M images of known classes, F of left-out ones, K classes that the net knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from clf_runtime.evaluation.unknown import auroc
from clf_runtime.model.open_set import LEAST_TOLD, UNKNOWN_SHARE, OpenSet

_DIGITS = 4


@dataclass(frozen=True)
class Told:
    """How one measure tells a class: the AUROC, and the share of its images that lies below the threshold."""

    auroc: float
    noticed: float


@dataclass(frozen=True)
class Round:
    """What a net that was trained without the classes `left_out` says of them, and of `known` other images.

    Of these it classifies `right` correctly. The other fields have one value for each class that is left out: the
    number of its `images`, and how they are told from the known ones, None where one of both are too few.
    """

    schema: int
    left_out: tuple[int, ...]
    known: int
    right: int
    images: tuple[int, ...]
    by_probability: tuple[Told | None, ...]
    by_logit: tuple[Told | None, ...]
    seconds: float


SCHEMA = 1  # of a Round


def measure_round(
    left_out: Sequence[int], known: np.ndarray, right: int, foreign: np.ndarray, labels: np.ndarray, seconds: float
) -> Round:
    """Measure the scores of known images, [M, K], and of left-out ones, [F, K], with labels int64 [F]."""
    counts = tuple(int((labels == label).sum()) for label in left_out)

    def tell(known: np.ndarray, foreign: np.ndarray) -> tuple[Told | None, ...]:
        if len(known) < LEAST_TOLD:
            return (None,) * len(left_out)
        threshold = np.quantile(known, UNKNOWN_SHARE)
        of_each = [foreign[labels == label] for label in left_out]
        return tuple(
            None if len(those) < LEAST_TOLD else Told(auroc(known, those), float((those < threshold).mean()))
            for those in of_each
        )

    return Round(
        SCHEMA,
        tuple(left_out),
        len(known),
        right,
        counts,
        tell(_largest_probability(known), _largest_probability(foreign)),
        tell(known.max(axis=1), foreign.max(axis=1)),
        seconds,
    )


def without_figures(left_out: Sequence[int], images: Sequence[int], seconds: float) -> Round:
    """A round whose net could not be trained, which says nothing of its classes."""
    nothing = (None,) * len(left_out)
    return Round(SCHEMA, tuple(left_out), 0, 0, tuple(images), nothing, nothing, seconds)


def together(rounds: Sequence[Round], at_once: int, epochs: int) -> OpenSet:
    """The record of all rounds, in which each class was left out once."""
    found = {
        label: (images, probability, logit)
        for one in rounds
        for label, images, probability, logit in zip(
            one.left_out, one.images, one.by_probability, one.by_logit, strict=True
        )
    }
    images, by_probability, by_logit = zip(*(found[label] for label in sorted(found)), strict=True)
    known = sum(one.known for one in rounds)
    return OpenSet(
        at_once=at_once,
        rounds=tuple(one.left_out for one in rounds),
        epochs=epochs,
        accuracy=round(sum(one.right for one in rounds) / max(1, known), _DIGITS),
        known=known,
        seconds=round(sum(one.seconds for one in rounds), 1),
        images=images,
        probability_auroc=tuple(None if told is None else round(told.auroc, _DIGITS) for told in by_probability),
        logit_auroc=tuple(None if told is None else round(told.auroc, _DIGITS) for told in by_logit),
        probability_noticed=tuple(None if told is None else round(told.noticed, _DIGITS) for told in by_probability),
        logit_noticed=tuple(None if told is None else round(told.noticed, _DIGITS) for told in by_logit),
    )


def _largest_probability(scores: np.ndarray) -> np.ndarray:
    """[M, K] to [M]."""
    largest: np.ndarray = softmax(scores.astype(np.float64), axis=1).max(axis=1) if len(scores) else np.empty(0)
    return largest
