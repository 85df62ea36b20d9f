"""Labels that are strings: they become indices of the classes of the training part."""

from collections.abc import Mapping, Sequence

import numpy as np

from clf_runtime.datasets.order import Order
from clf_runtime.errors import ImageError

MAX_CLASSES = 100_000


class Labels:
    """Labels as they are read, each string stored once."""

    def __init__(self) -> None:
        """Start empty."""
        self._known: dict[str, str] = {}

    def take(self, label: str, where: str) -> str:
        """The stored label. Raises ImageError above MAX_CLASSES of them."""
        kept = self._known.setdefault(label, label)
        if len(self._known) > MAX_CLASSES:
            raise ImageError(f"{where}: more than {MAX_CLASSES:,} different labels; is this the column of labels?")
        return kept


def classes_of(parts: Mapping[str, Sequence[str]], order: Order) -> tuple[str, ...]:
    """The classes of the training part, or of the first part if there is none, in order."""
    labels = parts.get("train") or next((labels for labels in parts.values() if labels), ())
    return tuple(order(dict.fromkeys(labels)))


def numbered(labels: Sequence[str], classes: Sequence[str], where: str) -> np.ndarray:
    """The indices of labels among the classes, int64 [N]. Raises ImageError for one that is not among them."""
    place = {name: i for i, name in enumerate(classes)}
    for label in labels:
        if label not in place:
            raise ImageError(f"{where}: {label[:200]!r} is a class without training images")
    return np.array([place[label] for label in labels], np.int64)
