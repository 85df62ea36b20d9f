"""The interval that an accuracy is stated with: Wilson's, of a proportion of few or many images.

Wilson, 1927, Probable inference, the law of succession, and statistical inference, JASA 22, 209-212; recommended for
few observations by Brown, Cai and DasGupta, 2001, Interval estimation for a binomial proportion, Statistical Science
16, 101-133.
"""

import math

_Z = 1.959963984540054  # standard deviations of a normal distribution that hold 95 %


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval, fractions in [0, 1], of an accuracy of `right` of so many `images`; (0, 1) of none.

    If images like these were drawn again and again, about 95 of 100 such intervals would hold the true accuracy.
    """
    if not images:
        return 0.0, 1.0
    share = right / images
    scale = 1 + _Z**2 / images
    middle = (share + _Z**2 / (2 * images)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / images + _Z**2 / (4 * images**2))
    low = 0.0 if right == 0 else max(0.0, middle - half)  # exactly, which rounding misses
    return low, 1.0 if right == images else min(1.0, middle + half)


def span(share: float, images: int) -> str:
    """The interval of a fraction `share` in [0, 1] of so many images, in words: `77.0 to 95.3 %`."""
    low, high = wilson(round(share * images), images)
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def stated(share: float, images: int, kind: str = "images") -> str:
    """An accuracy `share` in [0, 1] with its interval and count: `89.13 % (77.0 to 95.3 %, 46 images)`."""
    some = kind.replace("images", "image", 1) if images == 1 else kind
    return f"{100 * share:.2f} % ({span(share, images)}, {images:,} {some})"
