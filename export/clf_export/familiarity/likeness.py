"""How much more an image is like the given examples of what is no class than like the training images.

Letters in shapes: N images, M examples, C channels.
"""

from dataclasses import dataclass

import numpy as np

from clf_train.loop.head import rotate, solve

_PENALTY = 1.0


@dataclass(frozen=True)
class Likeness:
    """A plane: the difference of the two logits of a logistic regression, `slope` [C] and `offset`."""

    slope: np.ndarray
    offset: float

    def of(self, x: np.ndarray) -> np.ndarray:
        """The likeness of directions x [N, C] to the examples: [N]."""
        return np.asarray(x @ self.slope + self.offset)


def fit_likeness(x: np.ndarray, examples: np.ndarray) -> Likeness:
    """Fit it to directions [N, C] of training images and [M, C] of examples, both of the same weight; 0 if M is."""
    if not len(examples):
        return Likeness(np.zeros(x.shape[1]), 0.0)
    both, labels = np.concatenate([x, examples]), np.repeat([0, 1], [len(x), len(examples)])
    turned, axes, centre = rotate(both, np.ones(len(both), bool))
    counts = np.where(labels == 0, len(both) / (2 * len(x)), len(both) / (2 * len(examples)))
    *_, (weight, bias) = solve(turned, labels, 2, [_PENALTY], counts)
    slope = axes @ (weight[1] - weight[0])
    return Likeness(slope, float(bias[1] - bias[0] - centre @ slope))
