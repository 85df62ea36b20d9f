"""The HTML pages of a training: one of each run, and one that holds all of its runs side by side.

A page is one file: pictures are inside it, nothing is fetched, no script runs.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from clf_train.evaluation.metrics import most_confused
from clf_train.report.markup import (
    Cell,
    Html,
    Section,
    bar,
    fact_tables,
    figure,
    lead,
    number,
    page,
    paragraph,
    picture,
    table,
)
from clf_train.report.text import calibration_line, comparison_rows, percent, worst_classes
from clf_train.runs.run import Run, folder_name

_MOST_ROWS = 100  # of a table of classes, where there are more than have a confusion matrix


def run_page(run: Run, folder: Path) -> str:
    """The page of one run, with the pictures of its folder inside it."""
    return page(f"{run.model} on {run.data.layout}", _summary(run), _sections(run, folder))


def comparison_page(runs: Sequence[Run], folder: Path) -> str:
    """The page of a training of several models: the comparison, and then the whole report of each.

    The pictures are those of the runs' folders, which are named as the models are, in `folder`.
    """
    reports = []
    for run in runs:
        name = folder_name(run.model)
        reports.append(Section(name, run.model, _summary(run), tuple(_sections(run, folder / name, f"{name}-"))))
    sections = [
        Section("models", "Models", _models(runs)),
        Section("by-class", "Accuracy by class", _classes_side_by_side(runs)),
        *reports,
    ]
    title = f"{' and '.join(run.model for run in runs)} on {runs[0].data.layout}"
    tested = f"Trained on the same {runs[0].data.train_images:,} images, tested on the same {runs[0].test.images:,}."
    figures = lead(figure(percent(run.test.accuracy), f"{run.model}, test accuracy") for run in runs)
    return page(title, Html(paragraph(tested, "soft") + figures), sections)


def _models(runs: Sequence[Run]) -> Html:
    """The table that sets the models side by side, a column a model."""
    best = max(run.test.accuracy for run in runs)
    heading, *rows = zip(*comparison_rows(runs), strict=True)
    rows.insert(0, rows.pop())  # the accuracy, which a terminal's line ends with, is what a page begins with
    rows.append(("calibration error", *(percent(run.calibration.error) for run in runs)))
    rows.append(("hardest class", *(_hardest(run) for run in runs)))
    kinds = ["best" if run.test.accuracy == best else "" for run in runs]
    return table(
        [heading[0], *(number(name) for name in heading[1:])],
        [
            [name, *(number(cell, kind if i == 0 else "") for cell, kind in zip(cells, kinds, strict=True))]
            for i, (name, *cells) in enumerate(rows)
        ],
    )


def _classes_side_by_side(runs: Sequence[Run]) -> Html:
    rows: list[list[Cell | str]] = []
    for i in _listed(runs[0]):
        name = runs[0].names[i]
        shares = [run.test.class_accuracy[i] for run in runs]
        best = max((share for share in shares if share is not None), default=None)
        cells = [(number(percent(s), "best" if s is not None and s == best else ""), bar(s)) for s in shares]
        rows.append([name, *(cell for pair in cells for cell in pair)])
    heading: list[Cell | str] = ["class"]
    heading += [cell for run in runs for cell in (number(run.model), Cell("", "bar"))]
    return Html(table(heading, rows) + _which(runs[0]))


def _listed(run: Run) -> Sequence[int]:
    """The classes that have a row in a table: all, or the worst of so many that nobody would read on."""
    return range(len(run.names)) if run.test.confusion is not None else worst_classes(run.test, _MOST_ROWS)


def _which(run: Run) -> Html:
    told = f"The {_MOST_ROWS} classes of the {len(run.names):,} that {run.model} knows worst."
    return paragraph(told, "soft") if run.test.confusion is None else Html("")


def _summary(run: Run) -> Html:
    test = run.test
    facts = [
        ("parameters", f"{run.parameters:,}"),
        ("training", f"{run.seconds:,.1f} s for {_plural(len(run.history), 'epoch')}"),
        ("weights", f"of epoch {run.best_epoch}"),
        ("hardest class", _hardest(run)),
        ("calibration error", percent(run.calibration.error)),
        ("cross-entropy", f"{test.loss:.3f} nats"),
    ]
    return lead([figure(percent(test.accuracy), f"of {test.images:,} test images are told right")], facts)


def _sections(run: Run, folder: Path, prefix: str = "") -> list[Section]:
    """The parts of a run's report; `prefix` keeps their anchors apart where several reports share a page."""
    parts = [
        ("learning", "Learning", picture(folder / "curves.png", "loss, accuracy and learning rate by epoch")),
        ("classes", "Classes", _classes(run)),
        ("confusion", "Confusion matrix", _confusion(folder)) if run.test.confusion else None,
        ("mistakes", "Most confused", _mistakes(run, folder)),
        ("calibration", "Calibration", _calibration(run, folder)),
        ("answers", "First answers", _first_answers(run)),
        ("making", "How it was made", _making(run)),
    ]
    return [Section(prefix + anchor, title, body) for anchor, title, body in filter(None, parts)]


def _confusion(folder: Path) -> Html:
    return picture(folder / "confusion.png", "how often each class is taken for which")


def _classes(run: Run) -> Html:
    confusion, names = run.test.confusion, run.names
    rows: list[list[Cell | str]] = []
    if confusion is None:
        shares = [(names[i], run.test.class_accuracy[i]) for i in _listed(run)]
        rows = [[name, number(percent(share)), bar(share)] for name, share in shares]
        return Html(table(["class", number("told right"), Cell("", "bar")], rows) + _which(run))
    for i, (name, share) in enumerate(zip(names, run.test.class_accuracy, strict=True)):
        named = sum(row[i] for row in confusion)
        right_when_named = percent(confusion[i][i] / named if named else None)
        rows.append(
            [name, number(f"{sum(confusion[i]):,}"), number(percent(share)), bar(share), number(right_when_named)]
        )
    heading: list[Cell | str] = [
        "class",
        number("test images"),
        number("told right"),
        Cell("", "bar"),
        number("right when named"),
    ]
    return table(heading, rows)


def _mistakes(run: Run, folder: Path) -> Html:
    if run.test.accuracy == 1:
        return paragraph("No test image was mistaken.")
    pairs = most_confused(run.test, run.names)
    sizes = {name: sum(row) for name, row in zip(run.names, run.test.confusion or (), strict=False)}
    rows = [(p.label, p.predicted, number(f"{p.count:,}"), number(percent(p.count / sizes[p.label]))) for p in pairs]
    return Html(
        (table(("is", "taken for", number("images"), number("of the class")), rows) if pairs else "")
        + paragraph("The mistakes that it was surest of, with the probability it gave to the wrong class:", "soft")
        + picture(folder / "confused.png", "test images of the most confused pairs", plot=False)
    )


def _calibration(run: Run, folder: Path) -> Html:
    described = "accuracy by probability, and by the share of images answered"
    return Html(picture(folder / "reliability.png", described) + paragraph(f"{calibration_line(run).capitalize()}."))


def _first_answers(run: Run) -> Html:
    rows = [
        (
            number(str(a.index)),
            run.names[a.label],
            run.names[a.predicted],
            number(f"{a.probability:.3f}"),
            Cell("" if a.label == a.predicted else "✗", "wrong"),
        )
        for a in run.test.first
    ]
    return table((number("image"), "is", "taken for", number("probability"), ""), rows)


def _making(run: Run) -> Html:
    data, (low, high) = run.data, run.value_range
    images = [
        ("source", data.source),
        ("layout", data.layout),
        ("training", f"{data.train_images:,}"),
        ("validation", f"{data.validation_images:,}"),
        ("test", f"{data.test_images:,}"),
        ("an image", f"{run.dtype} {'×'.join(map(str, run.image_shape))}, values {low:g}–{high:g}"),
        ("fingerprint", data.fingerprint),
    ]
    speed = f"{len(run.history) * data.train_images / run.seconds:,.0f} images/s"
    workers = [("threads", str(run.threads)), ("processes", str(run.processes))]
    machine = [("device", run.device), *workers, *run.machine.items(), *run.versions.items(), ("speed", speed)]
    made = [*_recipe(run), ("seed", str(run.seed)), ("made", run.created.replace("T", " ").replace("+00:00", " UTC"))]
    return fact_tables([("Recipe", made), ("Images", images), ("Machine", machine)])


def _recipe(run: Run) -> list[tuple[str, str]]:
    """A recipe's fields for people: words, and what does not stand at its default."""
    rows = []
    for field in fields(run.recipe):
        value = getattr(run.recipe, field.name)
        if isinstance(value, bool):
            shown = "yes" if value else "no"
        elif field.name.endswith("_share"):
            shown = f"{100 * value:g} %"
        else:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
        if isinstance(value, str) or value != field.default:
            rows.append(("recipe" if field.name == "name" else field.name.replace("_", " "), shown))
    return rows


def _hardest(run: Run) -> str:
    tested = [
        (share, name) for share, name in zip(run.test.class_accuracy, run.names, strict=True) if share is not None
    ]
    share, name = min(tested)
    return f"{name}, {percent(share)}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
