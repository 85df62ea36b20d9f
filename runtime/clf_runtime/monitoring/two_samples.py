"""A two-sample test of counts that come in a row, where images resemble those before them."""

import math
from dataclasses import dataclass

import numpy as np

_LEAST_EXPECTED = 5.0  # images in a cell that are not alike; rarer cells are one together (Cochran, 1954)
_STEPS = 500  # of a continued fraction


@dataclass(frozen=True)
class Comparison:
    """`p_value` of the hypothesis that nothing but chance is between the two, and the `distance` of their shares.

    The distance is the total variation, in 0..1: the share of one sample that would have to be in other cells; without
    what samples of these sizes differ by on average.
    """

    p_value: float
    distance: float


def design_effect(observed: np.ndarray, expected: np.ndarray) -> float:
    """How much more the counts [blocks, cells] vary between consecutive blocks than those of independent images; >= 1.

    The blocks have as many images each. Images that resemble those before them, as a camera's do, make it large: it is
    the number of images that count for one. Averaged over the cells (Rao and Scott, 1981, JASA 76, 221-230).
    """
    images = float(observed[0].sum())
    shares = (observed.sum(axis=0) + 1) / (images * len(observed) + observed.shape[1])
    between = (observed - expected).var(axis=0, ddof=1)
    return float(max(1.0, (between / (images * shares)).sum() / (observed.shape[1] - 1)))


def compare(observed: np.ndarray, expected: np.ndarray, effect: float, blocks: int, per_image: float) -> Comparison:
    """Compare counts [cells] of a stream with those that a reference makes expect.

    `effect` is the design effect, estimated from so many `blocks`, by which Pearson's statistic is divided; the result
    has an F distribution (Thomas and Rao, 1987, JASA 82, 630-636). `per_image` is the variance of the reference
    relative to that of one image: 1 / its number of images. Where there are too few images that are not alike, nothing
    can be said, and the p-value is 1.
    """
    images = float(observed.sum())
    variance = effect + images * per_image  # of a count, relative to that of independent images beside known shares
    shares = expected / images
    chance = math.sqrt(variance / (2 * math.pi * images)) * float(np.sqrt(shares * (1 - shares)).sum())
    apart = float(np.abs(observed - expected).sum() / (2 * images))
    distance = math.sqrt(max(0.0, apart**2 - chance**2))
    observed, expected = _common_cells(observed, expected, _LEAST_EXPECTED * effect)
    above = len(observed) - 1
    if above < 1:
        return Comparison(1.0, distance)
    statistic = float(((observed - expected) ** 2 / expected).sum()) / variance
    return Comparison(f_exceeds(statistic / above, above, above * (blocks - 1)), distance)


def _common_cells(observed: np.ndarray, expected: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The cells where at least so many images are expected, and the others as one, with the rarest if need be."""
    few = expected < least
    if not few.any():
        return observed, expected
    while expected[few].sum() < least and not few.all():
        few[np.where(few, np.inf, expected).argmin()] = True
    return np.append(observed[~few], observed[few].sum()), np.append(expected[~few], expected[few].sum())


def f_exceeds(value: float, above: int, below: int) -> float:
    """The probability that a variable of the F distribution, of these degrees of freedom, exceeds a value >= 0."""
    return _incomplete_beta(below / (below + above * value), below / 2, above / 2)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function: https://dlmf.nist.gov/8.17, by the continued fraction 8.17.22."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    # The modified Lentz algorithm: https://dlmf.nist.gov/3.10.iii
    value, upper, lower = 1.0, 1.0, 0.0
    for step in range(1, _STEPS):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / ((1 + term * lower) or 1e-300)
        upper = (1 + term / upper) or 1e-300
        value *= upper * lower
        if abs(1 - upper * lower) < 1e-12:
            break
    return min(1.0, front / value)
