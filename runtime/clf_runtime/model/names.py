"""Class names: the rules for them, in data, on cards and in options alike, and the formats of other tools."""

import ast
import json
from collections.abc import Sequence

MAX_TEXT = 10_000  # characters of one name or description
MAX_NAMES_TEXT = 1 << 20  # characters; a class name of ImageNet-21k has 20 on average
_MAX_LITERAL_TEXT = 1 << 18  # of a Python dict, whose parsing takes 500 bytes per character
# Characters that are invisible although their category says otherwise: Hangul and Khmer fillers, the Braille blank,
# joiners and variation selectors (Default_Ignorable_Code_Point, https://www.unicode.org/reports/tr44/).
_DRAWN_AS_NOTHING = {
    *map(ord, "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"),
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
    *range(0xE0000, 0xE1000),
}


def is_text(value: object) -> bool:
    """Whether a value is text of at most MAX_TEXT characters that UTF-8 can hold."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return False
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def seen(name: str) -> str:
    """A name as a person sees it: without invisible characters, composed (NFC), any whitespace as one space."""
    if not (name.isascii() and name.isprintable()):
        from unicodedata import category, normalize

        shown = (
            c for c in name if c.isspace() or (category(c) not in ("Cc", "Cf") and ord(c) not in _DRAWN_AS_NOTHING)
        )
        name = normalize("NFC", "".join(shown))
    return " ".join(name.split())


def names_fault(names: Sequence[object]) -> str | None:
    """What is wrong with class names, in words; None if each is visible text and distinguishable from all others."""
    places: dict[str, str] = {}
    for i, name in enumerate(names):
        if not isinstance(name, str) or not is_text(name):
            return f"class name {i} is too long, or not valid text: {ascii(name)[:60]}"
        key = seen(name)
        if not key:
            blank = "is empty" if not name.strip() else f"has no visible character: {ascii(name)[:60]}"
            return f"class name {i} {blank}"
        other = places.setdefault(key, name)
        if len(places) == i + 1:
            continue
        if other == name:
            return f"duplicate class name {name[:60]!r}"
        return f"the class names {ascii(other)[:60]} and {ascii(name)[:60]} look the same"
    return None


def read_names(text: str, classes: int) -> tuple[str, ...] | None:
    """Class names in the format of the metadata key `names`: JSON, or the Python dict that Ultralytics writes.

    None unless there is one for each of `classes`, and all are valid.
    """
    if not text or len(text) > MAX_NAMES_TEXT:
        return None
    try:
        named = json.loads(text)
    except (ValueError, RecursionError):
        if len(text) > _MAX_LITERAL_TEXT:
            return None
        try:
            named = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return None
    if isinstance(named, list):
        named = dict(enumerate(named))
    if not isinstance(named, dict):
        return None
    by_index = {str(key): str(name) for key, name in named.items()}
    wanted = [str(i) for i in range(classes)]
    if set(by_index) != set(wanted):
        return None
    names = tuple(by_index[i] for i in wanted)
    return names if names_fault(names) is None else None
