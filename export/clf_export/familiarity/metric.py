"""A squared distance to the nearest training image, in the Mahalanobis metric of the classes' common covariance.

Letters in shapes: N images, C channels, P prototypes, R axes.
"""

from dataclasses import dataclass

import numpy as np

_MOST = 512  # prototypes, and axes: 1,280 channels are 5 MB in each


@dataclass(frozen=True)
class Metric:
    """A squared distance: (|x - p|² - |axes (x - p)|²) / scale, to the nearest of the prototypes p.

    `prototypes` is float64 [P, C] of length 1 each, `axes` [R, C].
    """

    prototypes: np.ndarray
    axes: np.ndarray
    scale: float

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """The squared distance of directions x [N, C] to the nearest prototype: [N]."""
        slopes, offsets = self.planes()
        turned = x @ self.axes.T
        return np.asarray((x @ slopes.T + offsets).min(axis=1) + (1 - (turned**2).sum(axis=1)) / self.scale)

    def planes(self) -> tuple[np.ndarray, np.ndarray]:
        """Slopes [P, C] and offsets [P] of what, beside |x|² - |axes x|², is the distance to each prototype."""
        turned = self.prototypes @ self.axes.T
        slopes = -2 / self.scale * (self.prototypes - turned @ self.axes)
        return slopes, (1 - (turned**2).sum(axis=1)) / self.scale


def fit_metric(x: np.ndarray, labels: np.ndarray) -> Metric:
    """The metric of directions x [N, C] with labels int64 [N].

    It is the inverse of the covariance within the classes plus its mean eigenvalue that is not zero.
    """
    centred = np.concatenate([x[labels == label] - x[labels == label].mean(axis=0) for label in np.unique(labels)])
    _, sizes, axes = np.linalg.svd(centred / np.sqrt(len(x)), full_matrices=False)
    spread = sizes**2
    some = spread > 1e-8 * max(spread.max(), 1e-12)
    scale = float(spread[some].mean()) if some.any() else 1.0
    weights = np.sqrt(spread / (spread + scale))[some]
    prototypes = x if len(x) <= _MOST else x[np.random.default_rng(0).permutation(len(x))[:_MOST]]
    return Metric(prototypes, (weights[:, None] * axes[some])[:_MOST], scale)
