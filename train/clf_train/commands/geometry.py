"""The options --image-size and --background, as a person writes them."""

import re

from clf_runtime.model.geometry import Colour
from clf_train.errors import RecipeError

_COLOURS: dict[str, Colour] = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)}
_MOST = 4096


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`N` or `HxW` as (height, width). Raises RecipeError if it is neither, or a side is not 1 to 4,096."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    height, width = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not (1 <= height <= _MOST and 1 <= width <= _MOST):
        raise RecipeError(f"--image-size {text}: give a side such as 224, or HEIGHTxWIDTH, each 1 to {_MOST:,} pixels")
    return height, width


def parse_colour(text: str) -> Colour:
    """`#rrggbb` or a name as red, green and blue. Raises RecipeError if it is neither."""
    name = text.strip().lower()
    if name in _COLOURS:
        return _COLOURS[name]
    if not re.fullmatch(r"#?[0-9a-f]{6}", name):
        raise RecipeError(f"--background {text}: give #rrggbb or one of {', '.join(_COLOURS)}")
    red, green, blue = bytes.fromhex(name.removeprefix("#"))
    return red, green, blue
