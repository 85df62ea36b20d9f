"""How a model answers held-out images, as its card holds it: what a stream of images on a device is compared with."""

from dataclasses import dataclass
from itertools import pairwise

BINS = 10  # of the values, about equally many images in each
MOST_CLASSES = 1000  # that have a row of counts of their own


@dataclass(frozen=True)
class Reference:
    """The answers for held-out images: how many of each predicted class have which value.

    `value` says what is counted, the `probability` of the predicted class or the `familiarity`, `mean` is its mean.
    `edges` are the nine inner limits of its ten bins, in increasing order; a value on a limit is in the bin above.
    `counts` has a row for each predicted class, [classes, 10], or a single one for all, for more than a thousand.
    """

    value: str
    edges: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    mean: float

    @property
    def images(self) -> int:
        """The number of held-out images."""
        return sum(map(sum, self.counts))


def reference_fault(reference: Reference, classes: int) -> str | None:
    """What a reference, whose fields have their types, must have instead of what it has; None if it is sound."""
    if reference.value not in ("probability", "familiarity"):
        return "of a probability or a familiarity"
    if len(reference.edges) != BINS - 1 or any(low > high for low, high in pairwise((0.0, *reference.edges, 1.0))):
        return f"divided into {BINS} bins by numbers in 0..1 in increasing order"
    rows = classes if classes <= MOST_CLASSES else 1
    if len(reference.counts) != rows or any(len(row) != BINS for row in reference.counts):
        return f"counts of {rows:,} x {BINS} images"
    if not 0 < reference.images <= 1 << 40:
        return "counts of one image or more"
    return None if 0 <= reference.mean <= 1 else "of a mean in 0..1"
