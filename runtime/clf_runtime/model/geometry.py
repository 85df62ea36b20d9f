"""How a picture of any size becomes the input of a model: stated once, in run.json and on the card."""

from dataclasses import dataclass
from typing import Literal, get_args

from clf_runtime.errors import ModelError

Fit = Literal["stretch", "pad", "crop"]
Colour = tuple[int, int, int]  # red, green, blue, 0..255
FITS: tuple[Fit, ...] = get_args(Fit)
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Geometry:
    """How a picture, upright by EXIF, becomes as high and wide as the input.

    `fit` is `stretch`: scaled to the input, its proportions give way; `pad`: scaled to fit into it, with bars of the
    `background` at two sides; or `crop`: the largest middle part of the input's proportions, scaled. `filter` is
    `bilinear`: Pillow's, antialiased, whose support grows with the reduction
    (https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters). What is transparent lies on the
    `background`; None leaves it in the colours that it hides, as files of schema 2 are answered.

    Raises ModelError, a ValueError, if a value is impossible.
    """

    fit: Fit = "stretch"
    background: Colour | None = WHITE
    filter: str = "bilinear"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ModelError(f"fit must be one of {', '.join(FITS)}, not {str(self.fit)[:60]!r}")
        if self.filter != "bilinear":
            raise ModelError(f"filter must be bilinear, not {str(self.filter)[:60]!r}")
        colour = self.background
        if colour is not None and not (
            isinstance(colour, tuple) and len(colour) == 3 and all(type(v) is int and 0 <= v <= 255 for v in colour)
        ):
            raise ModelError(f"background must be three whole numbers in 0..255, not {str(colour)[:60]!r}")
        if colour is None and self.fit != "stretch":
            raise ModelError(f"fit {self.fit} needs a background")


USUAL = Geometry()
UNSTATED = Geometry("stretch", None)  # what a card without a geometry means: files of schema 2


def box(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """The middle part (top, left, height, width) of a picture (height, width) that has the target's proportions.

    Sides are rounded to whole pixels, halves up.
    """
    (h, w), (high, wide) = size, target
    if w * high > h * wide:
        width = max(1, (2 * h * wide + high) // (2 * high))
        return 0, (w - width) // 2, h, width
    height = max(1, (2 * w * high + wide) // (2 * wide))
    return (h - height) // 2, 0, height, w


def inside(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) within the target of the proportions of a picture (height, width).

    Sides are rounded to whole pixels, halves up.
    """
    (h, w), (high, wide) = size, target
    if w * high > h * wide:
        return max(1, (2 * h * wide + w) // (2 * w)), wide
    return high, max(1, (2 * w * high + h) // (2 * h))
