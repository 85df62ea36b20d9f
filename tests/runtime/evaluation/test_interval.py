"""Wilson's interval, held to scipy's and to what it promises."""

import numpy as np
import pytest

from clf_runtime.evaluation.interval import span, stated, wilson


@pytest.mark.parametrize(("right", "images"), [(0, 1), (1, 1), (0, 46), (41, 46), (46, 46), (3692, 5000)])
def test_it_is_scipy_s(right, images):
    stats = pytest.importorskip("scipy.stats", reason="a device has no scipy")
    theirs = stats.binomtest(right, images).proportion_ci(0.95, "wilson")
    assert wilson(right, images) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_of_no_images_nothing_is_known():
    assert wilson(0, 0) == (0.0, 1.0)


def test_about_95_of_100_intervals_hold_the_accuracy():
    """Of 46 images and an accuracy of 0.9: the exact probability, by the binomial distribution."""
    right = np.arange(47)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 47)))])
    logs = log_factorial[46] - log_factorial[right] - log_factorial[46 - right]
    chance = np.exp(logs + right * np.log(0.9) + (46 - right) * np.log(0.1))
    holds = [low <= 0.9 <= high for low, high in (wilson(int(r), 46) for r in right)]
    assert chance[holds].sum() == pytest.approx(0.95, abs=0.02)


def test_in_words():
    assert stated(41 / 46, 46) == "89.13 % (77.0 to 95.3 %, 46 images)"
    assert stated(1.0, 1, "test images") == "100.00 % (20.7 to 100.0 %, 1 test image)"
    assert span(0.5, 5000) == "48.6 to 51.4 %"
