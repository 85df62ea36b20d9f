"""The report of a run in the terminal; page has the HTML pages."""

from collections.abc import Sequence

from clf_runtime.evaluation.interval import span, stated
from clf_train.evaluation.calibration import ENOUGH_TO_CALIBRATE, images_to_fit
from clf_train.evaluation.metrics import TestMetrics, most_confused
from clf_train.evaluation.suspects import Suspect
from clf_train.report.open_set import open_set_lines
from clf_train.runs.run import Run

_MANY = 20  # classes; of more, only the worst are listed
_FEW = 10


def text_report(run: Run) -> list[str]:
    """A run's test as lines of text: accuracy, recall, confusion matrix, confused pairs, the first predictions.

    With more than twenty classes, the worst are listed, without a matrix.
    """
    test, names = run.test, run.names
    is_few = len(names) <= _MANY
    listed = list(range(len(names))) if is_few else worst_classes(test, _FEW)
    width = max(len(names[i]) for i in (*listed, *(c for a in test.first for c in (a.label, a.predicted))))
    lines = [f"{run.model}: {'test accuracy' if run.has_test else 'accuracy'} {stated(test.accuracy, test.images)}"]
    lines += [*folds_lines(run), ""]
    lines += ["recall by class" if is_few else f"lowest recall of {len(names):,} classes"]
    lines += [f"  {names[i]:<{width}}  {recall(test, i)}" for i in listed]
    if is_few and test.confusion is not None:
        cell = max(5, *(len(f"{count:,}") + 1 for row in test.confusion for count in row))
        lines += ["", "confusion matrix (rows: true class, columns: predicted class)"]
        lines += [f"  {'':<{width}}" + "".join(f"{name[: cell - 1]:>{cell}}" for name in names)]
        lines += [
            f"  {name:<{width}}" + "".join(f"{count:>{cell},}" for count in row)
            for name, row in zip(names, test.confusion, strict=True)
        ]
    lines += ["", calibration_line(run)]
    pairs = most_confused(test, names)
    if test.confusion is not None:
        lines += (
            ["", "most confused", *(f"  {pair}" for pair in pairs)] if pairs else ["", "no image was misclassified"]
        )
    lines += suspects_lines(run)
    lines += open_set_lines(run)
    lines += ["", f"the first {len(test.first)} {'test ' * run.has_test}images: true class, prediction, probability"]
    lines += [
        f"  {a.index:>2}  {names[a.label]:<{width}}  {names[a.predicted]:<{width}}  {a.probability:.3f}"
        + ("" if a.label == a.predicted else "  wrong")
        for a in test.first
    ]
    return lines


def worst_classes(test: TestMetrics, most: int) -> list[int]:
    """Up to `most` of the classes that have test images, lowest recall first."""
    tested = [(share, i) for i, share in enumerate(test.class_accuracy) if share is not None]
    return [i for _, i in sorted(tested)[:most]]


def comparison_rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """A table that compares runs, the heading first."""
    measured = "test accuracy" if runs[0].has_test else "accuracy in folds"
    heading: tuple[str, ...] = ("model", "parameters", "recipe", "epochs", "training", "images/s", measured)
    return [heading] + [
        (
            run.model,
            f"{run.parameters:,}",
            run.recipe.name,
            str(len(run.history)),
            f"{run.seconds:.1f} s",
            f"{len(run.history) * run.data.train_images / run.seconds:,.0f}",
            stated(run.test.accuracy, run.test.images),
        )
        for run in runs
    ]


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def percent(share: float | None) -> str:
    """A fraction as a percentage with two decimals; None is a dash."""
    return "–" if share is None else f"{100 * share:.2f} %"


def recall(test: TestMetrics, label: int) -> str:
    """The recall of a class, with its interval and number of images where there is a confusion matrix to count."""
    share = test.class_accuracy[label]
    if share is None or test.confusion is None:
        return f"{percent(share):>8}"
    images = sum(test.confusion[label])
    return f"{percent(share):>8}  ({span(share, images)}, {images:,} image{'s' * (images != 1)})"


def suspects_lines(run: Run) -> list[str]:
    """Up to ten suspected labels; none without predictions by nets that had not seen the images."""
    found = run.suspects
    if found is None:
        return []
    if not found.count:
        return ["", f"no label of {found.images:,} training images is suspected to be wrong"]
    few = f", the first {_FEW}" if found.count > _FEW else ""
    labels = "labels that may be wrong" if found.count > 1 else "label that may be wrong"
    lines = ["", f"{found.count:,} {labels} of {found.images:,} training images (look at them{few}):"]
    return lines + [f"  {s.place}: {suspicion(run, s)}" for s in found.first[:_FEW]]


def suspicion(run: Run, suspect: Suspect) -> str:
    """The label of a suspect, and what it is taken for, with the probabilities of both."""
    label, predicted = run.names[suspect.label], run.names[suspect.predicted]
    return f"{label} ({suspect.label_probability:.3f}), or {predicted} ({suspect.probability:.3f})?"


def folds_lines(run: Run) -> list[str]:
    """What the folds of a training are, and what was found in them, in sentences; none without folds."""
    if run.folds is None:
        return []
    folds, images = run.folds, run.data.train_images
    count = len(folds.images)
    each = ", ".join(f"{100 * accuracy:.1f}" for accuracy in folds.accuracies)
    spread = f"mean {percent(folds.mean)}, standard deviation {100 * folds.deviation:.2f} points ({each})"
    if run.has_test:
        spread += f"; together {stated(folds.accuracy, images)}"
    plural = "s" * (len(run.history) > 1)
    epochs = f", for {len(run.history)} epoch{plural}, as the folds chose" if run.recipe.epochs else ""
    return [
        f"{count} folds: {spread}",
        f"each of these images was predicted by one of {count} nets that had not seen it; the net of this run was then "
        f"trained on all {images:,}{epochs}",
    ]


def calibration_line(run: Run) -> str:
    """The temperature and its effect on the expected calibration error, in a sentence."""
    error = f"expected calibration error {percent(run.calibration.error_before)}"
    if not run.has_test:
        return (
            f"{error} at a temperature of 1, {percent(run.calibration.error)} at those fitted to the other folds; the "
            f"net's is {run.temperature:.3f}, fitted to all"
        )
    if run.folds is not None:
        return (
            f"{error} at a temperature of 1, {percent(run.calibration.error)} at {run.temperature:.3f}, fitted to the "
            f"predictions for {run.data.train_images:,} training images by nets that had not seen them"
        )
    if run.head is not None and run.head.folds and not run.recipe.epochs:
        return (
            f"{error} at a temperature of 1, {percent(run.calibration.error)} at {run.temperature:.3f}, fitted to the "
            f"answers to {run.head.images:,} training images by heads that had not seen them ({run.head.folds} folds)"
        )
    if run.data.validation_images < ENOUGH_TO_CALIBRATE:
        return f"{error}; {run.data.validation_images or 'no'} images were held out, too few to fit a temperature"
    return (
        f"{error} at a temperature of 1, {percent(run.calibration.error)} at {run.temperature:.3f}, "
        f"fitted to {images_to_fit(run.data.validation_images, len(run.names)):,} validation images"
    )
