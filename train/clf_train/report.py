"""What a person reads of a run in the terminal; the pages for a browser are in page."""

from collections.abc import Sequence

from clf_train.calibration import ENOUGH_TO_CALIBRATE
from clf_train.metrics import most_confused
from clf_train.run import Run


def text_report(run: Run) -> list[str]:
    """A run's test in lines of text: accuracy, per class, the confusion matrix, confused pairs, the first answers."""
    test, names = run.test, run.names
    width = max(len(name) for name in names)
    cell = max(5, *(len(f"{count:,}") + 1 for row in test.confusion for count in row))
    lines = [f"{run.model}: test accuracy {percent(test.accuracy)} on {test.images:,} images", "", "accuracy by class"]
    lines += [f"  {name:<{width}}  {percent(share):>7}" for name, share in zip(names, test.class_accuracy, strict=True)]
    lines += ["", "confusion matrix (a row is a class, a column what it was taken for)"]
    lines += [f"  {'':<{width}}" + "".join(f"{name[: cell - 1]:>{cell}}" for name in names)]
    lines += [
        f"  {name:<{width}}" + "".join(f"{count:>{cell},}" for count in row)
        for name, row in zip(names, test.confusion, strict=True)
    ]
    lines += ["", calibration_line(run)]
    pairs = most_confused(test, names)
    lines += ["", "most confused", *(f"  {pair}" for pair in pairs)] if pairs else ["", "no image was mistaken"]
    lines += ["", f"the first {len(test.first)} test images"]
    lines += [
        f"  {a.index:>2}  {names[a.label]:<{width}}  taken for {names[a.predicted]:<{width}}  {a.probability:.3f}"
        + ("" if a.label == a.predicted else "  wrong")
        for a in test.first
    ]
    return lines


def comparison_rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """A table that sets runs side by side, the heading first."""
    heading: tuple[str, ...] = ("model", "parameters", "recipe", "epochs", "training", "images/s", "test accuracy")
    return [heading] + [
        (
            run.model,
            f"{run.parameters:,}",
            run.recipe.name,
            str(len(run.history)),
            f"{run.seconds:.1f} s",
            f"{len(run.history) * run.data.train_images / run.seconds:,.0f}",
            percent(run.test.accuracy),
        )
        for run in runs
    ]


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def percent(share: float | None) -> str:
    """A share as a percentage with two digits; what there is none of is a dash."""
    return "–" if share is None else f"{100 * share:.2f} %"


def calibration_line(run: Run) -> str:
    """The temperature and what it does to the expected calibration error, in a sentence."""
    error = f"expected calibration error {percent(run.calibration.error_before)}"
    if run.data.validation_images < ENOUGH_TO_CALIBRATE:
        return f"{error}; {run.data.validation_images or 'no'} images were held out, too few to fit a temperature to"
    return (
        f"{error} at a temperature of 1, {percent(run.calibration.error)} at {run.temperature:.3f}, "
        f"fitted to {run.data.validation_images:,} validation images"
    )
