"""What a page says and knows of its model."""

import base64
from dataclasses import dataclass
from typing import Any

from clf_export.errors import DeliveryError
from clf_runtime.classifier import Classifier
from clf_runtime.commands.describe import card_facts
from clf_runtime.errors import brief
from clf_runtime.model.card import ModelCard

LEAST_PALETTE = 64  # colours of a golden picture (see proof.pictures), the last one for what is transparent
_MOST_NAMED, _MOST_NAME, _MOST_TITLE = 4, 40, 80  # classes in a title, and characters of one and of them together
MOST_DRAWN = 64  # pixels of a side, up to which a grey image can be drawn by hand


@dataclass(frozen=True)
class PageData:
    """A model for the page: what it tells apart, its description, its card, and what the scripts need, as JSON."""

    title: str
    description: str
    facts: tuple[tuple[str, str], ...]
    scripts: dict[str, Any]


def describe_page(classifier: Classifier, where: str) -> PageData:
    """The description of a model that has a card; `where` names its file in errors.

    Raises DeliveryError if pictures cannot become the model's input: if it has other channels than grey or RGB, or
    floats in another range than 0..1 and 0..255.
    """
    card = classifier.card
    facts = tuple((name, text) for name, text in card_facts(classifier) if name != "description")
    return PageData(title_of(card), card.description, facts, _for_scripts(card, where))


def title_of(card: ModelCard) -> str:
    """What the model tells apart, by the first of its classes: `bolt, nut or washer`."""
    names, first = card.names, [brief(ValueError(name), _MOST_NAME) for name in card.names[:_MOST_NAMED]]
    while len(first) > 1 and len(", ".join(first)) > _MOST_TITLE:
        first.pop()
    others = len(names) - len(first)
    if not others:
        return f"{', '.join(first[:-1])} or {first[-1]}"
    return f"{', '.join(first)} or {'one of ' * (others > 1)}{others:,} other{'s' * (others > 1)}"


def _for_scripts(card: ModelCard, where: str) -> dict[str, Any]:
    channels, height, width = card.image_shape
    low, high = card.value_range
    if channels not in (1, 3):
        raise DeliveryError(f"{where}: takes images of {channels} channels, and a browser's pictures have 1 or 3")
    if card.dtype != "uint8" and (low, high) not in ((0, 1), (0, 255)):
        raise DeliveryError(
            f"{where}: takes floats in {low:g}..{high:g}, into which pictures are not converted; train with images of "
            "uint8, or of floats in 0..1"
        )
    geometry, known = card.picture_geometry, card.familiarity
    return {
        "model": {
            "names": card.names,
            "channels": channels,
            "height": height,
            "width": width,
            "dtype": card.dtype,
            "high": 255 if card.dtype == "uint8" else high,
            "layout": card.layout,
            "resizes": card.input == "photo",
            "fit": geometry.fit,
            "background": geometry.background,
            "threshold": None if known is None else known.threshold,
        },
        "golden": _golden(card),
        "drawing": drawing_colours(card),
    }


def _golden(card: ModelCard) -> dict[str, Any] | None:
    golden, picture, known = card.golden, card.golden_picture, card.familiarity
    if golden is None:
        return None
    return {
        "images": base64.b64encode(golden.images).decode("ascii"),
        "probabilities": golden.probabilities,
        "tolerance": golden.tolerance,
        "familiarity": () if known is None else known.golden,
        "familiarityTolerance": None if known is None else known.tolerance,
        "foreign": 0 if known is None else known.foreign,
        "picture": None
        if picture is None or _leaves_palette(picture.data)
        else {
            "data": base64.b64encode(picture.data).decode("ascii"),
            "sha256": picture.input_sha256,
            "probabilities": picture.probabilities,
        },
    }


def _leaves_palette(png: bytes) -> bool:
    """Whether a golden picture is one of earlier versions: its corner has a colour that its palette lacks.

    Pillow shows such a colour as black, a browser as it likes.
    """
    at = png.find(b"PLTE")
    return at >= 4 and int.from_bytes(png[at - 4 : at], "big") < 3 * LEAST_PALETTE


def drawing_colours(card: ModelCard) -> dict[str, str] | None:
    """The colours of a line and of the ground for a model of small grey images, by its training's statistics.

    Grey is one channel, or channels with the same mean and standard deviation. Lines are bright where images are
    mostly dark, and the reverse. None for other models.
    """
    channels, height, width = card.image_shape
    low, high = card.value_range
    spread = max((max(v) - min(v) for v in (card.mean, card.std) if v), default=high - low)
    is_grey = channels == 1 or spread <= 1e-3 * (high - low)
    if not is_grey or max(height, width) > MOST_DRAWN:
        return None
    is_dark = not card.mean or card.mean[0] < (low + high) / 2
    return {"ink": "#ffffff", "ground": "#000000"} if is_dark else {"ink": "#000000", "ground": "#ffffff"}
