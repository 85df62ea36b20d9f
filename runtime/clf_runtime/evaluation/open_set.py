"""What a record of left-out classes says, in words."""

from collections.abc import Sequence

from clf_runtime.evaluation.interval import span
from clf_runtime.model.open_set import LEAST_TOLD, UNKNOWN_SHARE, OpenSet

_FEW = 5  # class names that are listed


def open_set_summary(found: OpenSet, names: Sequence[str]) -> str:
    """How often a new class would be noticed, in a sentence; or that it cannot tell."""
    told = found.told
    if not told:
        return f"cannot tell whether a new class would be noticed: none has {LEAST_TOLD} images to be told by"
    measures = [
        ("by the largest logit", found.logit_noticed, found.logit_auroc),
        ("by the probability", found.probability_noticed, found.probability_auroc),
    ]
    if found.familiarity_noticed is not None and found.familiarity_auroc is not None:
        measures.insert(0, ("by the familiarity", found.familiarity_noticed, found.familiarity_auroc))
    first, *others = (
        (f"{100 * _mean(noticed):.0f} %", how, f"AUROC {_mean(auroc):.3f}") for how, noticed, auroc in measures
    )
    shares = sorted((measures[0][1][label] or 0.0, label) for label in told)
    (least, worst), (most, best) = shares[0], shares[-1]
    rest = ", ".join(f"{share} {how} ({auroc})" for share, how, auroc in others)
    text = (
        f"of a new class {first[0]} would be noticed {first[1]} ({first[2]}), {rest}, where "
        f"{100 * UNKNOWN_SHARE:.0f} % of known images are called unknown too; from {100 * least:.0f} % "
        f"({names[worst]}) to {100 * most:.0f} % ({names[best]})"
    )
    return text + (f"; {unheard(found, names)}" if len(told) < len(names) else "")


def how_measured(found: OpenSet) -> str:
    """By which nets it was measured, in a sentence."""
    count = len(found.rounds)
    kind = f"trained for {found.epochs} epoch{'s' * (found.epochs != 1)}" if found.epochs else "with heads fitted anew"
    return (
        f"measured by {count} net{'s' * (count != 1)} {kind}, each without {found.at_once} of {len(found.images):,} "
        f"classes at most; of {found.known:,} held-out images of the classes that they know they classify "
        f"{100 * found.accuracy:.1f} % correctly"
    )


def unheard(found: OpenSet, names: Sequence[str]) -> str:
    """The classes that it cannot tell of, in words."""
    told = set(found.told)
    return f"it cannot tell of {listed(names, [label for label in range(len(names)) if label not in told])}"


def listed(names: Sequence[str], labels: Sequence[int]) -> str:
    """The names of some classes, of which only the first are listed."""
    more = f" and {len(labels) - _FEW:,} more" if len(labels) > _FEW else ""
    return f"{', '.join(names[label] for label in labels[:_FEW])}{more}"


def noticed_with_interval(share: float, images: int) -> str:
    """A share noticed with its interval: `12.3 % (9.0 to 16.6 %)`."""
    return f"{100 * share:.1f} % ({span(share, images)})"


def _mean(values: Sequence[float | None]) -> float:
    """The mean over the classes that have figures, each of which counts alike."""
    told = [value for value in values if value is not None]
    return sum(told) / len(told)
