"""What a person reads of a run: lines for the terminal, and HTML pages that stand alone."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from clf_train.calibration import ENOUGH_TO_CALIBRATE
from clf_train.metrics import TestMetrics, most_confused
from clf_train.run import Run

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2 {{ line-height: 1.2; }} h2 {{ margin-top: 2.2rem; }}
figure, .wide {{ margin: 1rem 0; overflow-x: auto; }}
img {{ max-width: 100%; background: #fff; border-radius: 6px; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; }}
td.n, th.n {{ text-align: right; }}
.big {{ font-size: 2.2rem; font-weight: 600; margin: 0; }}
.wrong {{ color: #c33; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


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


def html_report(run: Run, folder: Path) -> str:
    """The page of one run, with the pictures of its folder inside it."""
    test, names = run.test, run.names
    pairs = [(p.label, p.predicted, f"{p.count:,}") for p in most_confused(test, names)]
    first = [
        (
            str(a.index),
            names[a.label],
            names[a.predicted],
            f"{a.probability:.3f}",
            "" if a.label == a.predicted else "wrong",
        )
        for a in test.first
    ]
    facts = [
        (
            "images",
            f"{run.data.layout}: {run.data.train_images:,} to train, {run.data.validation_images:,} to validate, "
            f"{run.data.test_images:,} to test",
        ),
        ("weights", f"of epoch {run.best_epoch} of {len(run.history)}"),
        ("source", run.data.source),
        ("fingerprint", run.data.fingerprint),
        (
            "an image",
            f"{run.dtype} {'×'.join(map(str, run.image_shape))}, values {run.value_range[0]:g}–{run.value_range[1]:g}",
        ),
        ("parameters", f"{run.parameters:,}"),
        ("recipe", ", ".join(f"{key} {value}" for key, value in vars(run.recipe).items())),
        ("seed", str(run.seed)),
        ("device", run.device),
        ("made", f"{run.created}, {run.seconds:.1f} s of training"),
        ("versions", ", ".join(f"{key} {value}" for key, value in run.versions.items())),
    ]
    body = [
        f'<p class="big">{percent(test.accuracy)}</p><p>of {test.images:,} test images are told right.</p>',
        "<h2>Learning</h2>" + _picture(folder / "curves.png", "loss, accuracy and learning rate by epoch"),
        "<h2>Classes</h2>" + _table(("class", "accuracy"), _class_rows(test, names), numbers=(1,)),
        "<h2>Calibration</h2>"
        + _picture(folder / "reliability.png", "accuracy by probability, and by the share of images answered")
        + _paragraph(calibration_line(run)),
        "<h2>Confusion</h2>" + _picture(folder / "confusion.png", "confusion matrix"),
        "<h2>Most confused</h2>" + _table(("is", "taken for", "images"), pairs, numbers=(2,)),
        "<h2>First answers</h2>" + _table(("image", "is", "taken for", "probability", ""), first, numbers=(0, 3)),
        "<h2>How it was made</h2>" + _table(("", ""), facts),
    ]
    return _PAGE.format(title=escape(f"{run.model} on {run.data.layout}"), body="\n".join(body))


def html_comparison(runs: Sequence[Run]) -> str:
    """The page that sets the models side by side: the table, and the accuracy of each class."""
    heading, *rows = comparison_rows(runs)
    names = runs[0].names
    by_class = [(name, *(percent(run.test.class_accuracy[i]) for run in runs)) for i, name in enumerate(names)]
    columns = tuple(range(1, len(heading)))
    body = [
        _table(heading, rows, numbers=columns),
        "<h2>Accuracy by class</h2>",
        _table(("class", *(run.model for run in runs)), by_class, numbers=columns[: len(runs)]),
        "<ul>"
        + "".join(f'<li><a href="{m}/report.html">{m}: the whole report</a></li>' for m in (r.model for r in runs))
        + "</ul>",
    ]
    return _PAGE.format(title=escape(f"Models on {runs[0].data.layout}"), body="\n".join(body))


def calibration_line(run: Run) -> str:
    """The temperature and what it does to the expected calibration error, in a sentence."""
    error = f"expected calibration error {percent(run.calibration.error_before)}"
    if run.data.validation_images < ENOUGH_TO_CALIBRATE:
        return f"{error}; {run.data.validation_images or 'no'} images were held out, too few to fit a temperature to"
    return (
        f"{error} at a temperature of 1, {percent(run.calibration.error)} at {run.temperature:.3f}, "
        f"fitted to {run.data.validation_images:,} validation images"
    )


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}.</p>"


def _class_rows(test: TestMetrics, names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, percent(share)) for name, share in zip(names, test.class_accuracy, strict=True)]


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} class="{"n" if i in numbers else "wrong" if c == "wrong" else ""}">{escape(c)}</{tag}>'
            for i, c in enumerate(row)
        )

    head = f"<tr>{cells(heading, 'th')}</tr>" if any(heading) else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table>{head}{body}</table></div>'


def _picture(file: Path, description: str) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<figure><img src="data:image/png;base64,{data}" alt="{escape(description)}"></figure>'
