"""What a model card says of the file's second output, how familiar an image is."""

from dataclasses import dataclass

NO_FAMILIARITY = (
    "has no familiarity by which an image could be unknown: export it again from its run folder, or reject by "
    "a probability (--reject-below)"
)
OUTPUT = "familiarity"  # float32 [batch], in 0..1


@dataclass(frozen=True)
class Familiarity:
    """How the familiarity was fitted: the share of `images` held-out training images that are less familiar.

    An image below `threshold` is unknown where that is asked for. `unseen` says whether the net was trained without the
    held-out images. Of `outliers` outliers of each of the `kinds`, made from such images, the share in `noticed` lies
    below the threshold. Of the user's own examples of what is no class the fit had `examples`, and not the `given`, of
    which the share `given_noticed` lies below. `golden` holds the familiarity of each golden case, on the exporting
    machine; a device's may differ by `tolerance`.
    """

    threshold: float
    images: int
    unseen: bool
    outliers: int
    kinds: tuple[str, ...]
    noticed: tuple[float, ...]
    golden: tuple[float, ...] = ()
    tolerance: float = 0.01
    given: int = 0
    given_noticed: float = 0.0
    foreign: int = 0  # golden cases, the last ones, that are such outliers and no images of the data
    examples: int = 0


@dataclass(frozen=True)
class Control:
    """How often *known* images are called unknown by the familiarity, once they are changed as foreign ones come.

    Of `images` held-out training images, changed in each of the ways `kinds`, which do not change what they show, the
    share in `called_unknown` lies below the threshold. A share that is far above that of unchanged ones, the threshold
    itself, says that it is noticed how a picture was made, not what it shows.
    """

    images: int
    kinds: tuple[str, ...]
    called_unknown: tuple[float, ...]


def control_fault(control: Control) -> str | None:
    """What a record, whose fields have their types, must have instead of what it has; None if it is sound."""
    if control.images < 1 or len(control.kinds) != len(control.called_unknown) or not control.kinds:
        return "of one image or more, with a share for each kind"
    return None if all(0 <= share <= 1 for share in control.called_unknown) else "with shares in 0..1"


def familiarity_fault(familiarity: Familiarity, cases: int) -> str | None:
    """What a record, whose fields have their types, must have instead of what it has; None if it is sound."""
    if not 0 < familiarity.threshold < 1:
        return "with a threshold between 0 and 1"
    if familiarity.images < 1:
        return "of one image or more"
    if len(familiarity.kinds) != len(familiarity.noticed) or not all(0 <= share <= 1 for share in familiarity.noticed):
        return "with a share in 0..1 for each kind of outlier"
    if not 0 <= familiarity.given_noticed <= 1:
        return "with a share in 0..1 of the given examples"
    if len(familiarity.golden) != cases or not all(0 <= value <= 1 for value in familiarity.golden):
        return "with a number in 0..1 for each golden case"
    if familiarity.foreign > cases:
        return "with fewer foreign cases than golden ones"
    return None if 0 < familiarity.tolerance <= 0.1 else "with a tolerance above 0 and at most 0.1"
