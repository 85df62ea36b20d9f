"""The order of class names, by which labels count: as people count, so that 10 stands behind 9."""

import re
from collections.abc import Callable, Iterable, Sequence

Order = Callable[[Iterable[str]], list[str]]
"""Sorts class names."""

_DIGITS = re.compile("([0-9]+)")


def as_people_count(names: Iterable[str]) -> list[str]:
    """Sort texts by their letters, and by the value of the numbers in them."""
    return sorted(names, key=_key)


def _key(text: str) -> tuple[list[object], str]:
    # Texts and numbers alternate, so that equal places are of one kind; a number's length comes first, not int(), which
    # refuses thousands of digits.
    parts = _DIGITS.split(text)
    numbers = (part.lstrip("0") for part in parts[1::2])
    return [item for pair in zip(parts[::2], [*((len(n), n) for n in numbers), ()], strict=True) for item in pair], text


def like(known: Sequence[str]) -> Order:
    """An order that is that of `known` for exactly these names, and as people count for any others.

    It was another before clf-edge counted as people do, and a model keeps its own.
    """

    def order(names: Iterable[str]) -> list[str]:
        listed = list(names)
        return list(known) if set(known) == set(listed) and len(known) == len(listed) else as_people_count(listed)

    return order
