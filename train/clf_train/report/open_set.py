"""How often classes that a model does not know would be noticed, for its report: sentences, a row for each class."""

from collections.abc import Iterator
from dataclasses import dataclass

from clf_runtime.evaluation.open_set import how_measured, noticed_with_interval, open_set_summary
from clf_train.runs.run import Run

_MOST = 20  # classes in the terminal: of more, those that are noticed least


@dataclass(frozen=True)
class LeftOut:
    """A class as one that the net was trained without; texts are "cannot tell" where there are too few images."""

    name: str
    images: int
    noticed: str
    auroc: str
    probability_auroc: str
    share: float | None


def left_out_classes(run: Run) -> Iterator[LeftOut]:
    """A row for each class, those that are noticed least first, and last those that it cannot tell of."""
    found = run.open_set
    if found is None:
        return
    told = found.told
    order = sorted(told, key=lambda label: found.logit_noticed[label] or 0.0)
    for label in [*order, *(label for label in range(len(run.names)) if label not in set(told))]:
        share, auroc, other = (
            values[label] for values in (found.logit_noticed, found.logit_auroc, found.probability_auroc)
        )
        images = found.images[label]
        if share is None or auroc is None or other is None:
            yield LeftOut(run.names[label], images, "cannot tell", "–", "–", None)
        else:
            noticed = noticed_with_interval(share, images)
            yield LeftOut(run.names[label], images, noticed, f"{auroc:.3f}", f"{other:.3f}", share)


def open_set_sentences(run: Run) -> list[str]:
    """What was found, and how; none where it was not measured."""
    return [] if run.open_set is None else [open_set_summary(run.open_set, run.names), how_measured(run.open_set)]


def open_set_lines(run: Run) -> list[str]:
    """Lines of text, with a table of the classes."""
    if run.open_set is None:
        return []
    rows = list(left_out_classes(run))
    width = max(len(row.name) for row in rows[:_MOST])
    few = f", the {_MOST} that are noticed least" if len(rows) > _MOST else ""
    lines = [
        "",
        *open_set_sentences(run),
        f"classes left out{few}: noticed, AUROC of the largest logit, of the probability",
    ]
    return lines + [
        f"  {row.name:<{width}}  {row.noticed:<24} {row.auroc:>6} {row.probability_auroc:>6}  ({row.images:,} images)"
        for row in rows[:_MOST]
    ]
