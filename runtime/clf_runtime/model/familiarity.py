"""What a model card says of the file's second output, how familiar an image is."""

from dataclasses import dataclass

OUTPUT = "familiarity"  # float32 [batch], in 0..1


@dataclass(frozen=True)
class Noticed:
    """Of `images` outliers of a `kind` that was made from training images, the `share` that is called unknown."""

    kind: str
    images: int
    share: float


@dataclass(frozen=True)
class Familiarity:
    """How the familiarity was fitted: the share of `images` held-out training images that are less familiar.

    An image below `threshold` is unknown where that is asked for. `unseen` says whether the net was trained without the
    held-out images. `noticed` tells how many outliers lie below the threshold, by their kind, and `golden` the
    familiarity of each golden case, on the exporting machine; a device's may differ by `tolerance`.
    """

    threshold: float
    images: int
    unseen: bool
    noticed: tuple[Noticed, ...]
    golden: tuple[float, ...] = ()
    tolerance: float = 0.01


def familiarity_fault(familiarity: Familiarity, cases: int) -> str | None:
    """What a record, whose fields have their types, must have instead of what it has; None if it is sound."""
    if not 0 < familiarity.threshold < 1:
        return "with a threshold between 0 and 1"
    if familiarity.images < 1:
        return "of one image or more"
    if any(noticed.images < 1 or not 0 <= noticed.share <= 1 for noticed in familiarity.noticed):
        return "with shares in 0..1 of one image or more"
    if len(familiarity.golden) != cases or not all(0 <= value <= 1 for value in familiarity.golden):
        return "with a number in 0..1 for each golden case"
    return None if 0 < familiarity.tolerance <= 0.1 else "with a tolerance above 0 and at most 0.1"
