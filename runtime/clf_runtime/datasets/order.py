"""The order of class names, to which labels refer: natural order, in which 10 comes after 9."""

import re
from collections.abc import Callable, Iterable, Sequence

Order = Callable[[Iterable[str]], list[str]]
"""Sorts class names."""

_DIGITS = re.compile("([0-9]+)")


def as_people_count(names: Iterable[str]) -> list[str]:
    """Sort strings in natural order: by their letters, and by the value of the numbers in them."""
    return sorted(names, key=_key)


def _key(text: str) -> tuple[list[object], str]:
    # Text and numbers alternate, so that equal positions have one type; a number's length comes first, not int(), which
    # refuses thousands of digits.
    parts = _DIGITS.split(text)
    numbers = (part.lstrip("0") for part in parts[1::2])
    return [item for pair in zip(parts[::2], [*((len(n), n) for n in numbers), ()], strict=True) for item in pair], text


def like(known: Sequence[str]) -> Order:
    """An order that is that of `known` for exactly these names, and the natural order for any others.

    Earlier versions of clf-edge had another order, and a model keeps its own.
    """

    def order(names: Iterable[str]) -> list[str]:
        listed = list(names)
        return list(known) if set(known) == set(listed) and len(known) == len(listed) else as_people_count(listed)

    return order
