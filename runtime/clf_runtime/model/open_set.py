"""What a run and a model card say of classes that were left out of a training: how often they would be noticed."""

from dataclasses import dataclass

LEAST_TOLD = 20  # images, below which a share of a twentieth means nothing: it then says that it cannot tell
UNKNOWN_SHARE = 0.05  # the share of known images below the threshold

_Figures = tuple[float | None, ...]


@dataclass(frozen=True)
class OpenSet:
    """How well the images of each class are told from the others', by nets that were trained without that class.

    `rounds` has the labels that each of these nets was trained without, at most `at_once`; it was trained for `epochs`
    epochs, or with 0 only its head was fitted, and classifies the fraction `accuracy` of `known` images of its classes
    correctly, in all rounds together, none of which it was trained on. The other fields have one value for each class,
    None where there are fewer than LEAST_TOLD images: how many `images` of it there were, the AUROC of the largest
    probability and of the largest logit (see evaluation.unknown), and of each the share noticed, below the threshold
    under which the share UNKNOWN_SHARE of the known images is. `seconds` is how long all of it took. Those of the
    familiarity itself are there where it can be fitted without a class too: where only a head was trained.
    """

    at_once: int
    rounds: tuple[tuple[int, ...], ...]
    epochs: int
    accuracy: float
    known: int
    seconds: float
    images: tuple[int, ...]
    probability_auroc: _Figures
    logit_auroc: _Figures
    probability_noticed: _Figures
    logit_noticed: _Figures
    familiarity_auroc: _Figures | None = None
    familiarity_noticed: _Figures | None = None

    @property
    def figures(self) -> tuple[_Figures, ...]:
        """The measured values of each class."""
        of_familiarity = (self.familiarity_auroc, self.familiarity_noticed)
        of_scores = (self.probability_auroc, self.logit_auroc, self.probability_noticed, self.logit_noticed)
        return (*of_scores, *(values for values in of_familiarity if values is not None))

    @property
    def told(self) -> tuple[int, ...]:
        """The classes that have figures."""
        return tuple(label for label, found in enumerate(self.logit_auroc) if found is not None)


def open_set_fault(found: OpenSet, classes: int) -> str | None:
    """What a record, whose fields have their types, must have instead of what it has; None if it is sound."""
    if sorted(label for left_out in found.rounds for label in left_out) != list(range(classes)):
        return "with each class left out once"
    if not 1 <= found.at_once <= classes - 2 or any(len(left_out) > found.at_once for left_out in found.rounds):
        return "with at_once classes left out of a training at most, which leaves two"
    if not 0 <= found.accuracy <= 1 or found.seconds < 0:
        return "with an accuracy in 0..1 and seconds of 0 or more"
    if any(len(values) != classes for values in (found.images, *found.figures)):
        return "with a value for each class"
    if any(value is not None and not 0 <= value <= 1 for values in found.figures for value in values):
        return "with figures in 0..1"
    missing = {tuple(value is None for value in values) for values in found.figures}
    return None if len(missing) == 1 else "with all figures of a class or none"
