"""The HTML pages of a training: one for each run, and one that compares all of its runs.

A page is one file with its images embedded; nothing is fetched, no script runs. The layout is in the templates beside
this module, the style in style.css; here are the values that they use.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clf_runtime.evaluation.interval import span, stated
from clf_train.evaluation.metrics import ConfusedPair, most_confused
from clf_train.report.open_set import left_out_classes, open_set_sentences
from clf_train.report.plots import DPI
from clf_train.report.text import calibration_line, comparison_rows, folds_lines, percent, recall, worst_classes
from clf_train.runs.run import Run, folder_name

_MOST_ROWS = 100  # in a table of classes, if there are too many for a confusion matrix
_SECTIONS = {
    "images": "The images",
    "learning": "Learning curves",
    "classes": "Classes",
    "confusion": "Confusion matrix",
    "mistakes": "Most confused classes",
    "suspects": "Labels that may be wrong",
    "calibration": "Calibration",
    "open-set": "Classes that it does not know",
    "answers": "First predictions",
    "making": "Training details",
}


@dataclass(frozen=True)
class _Report:
    """A run for the templates; a `name`, the prefix of its anchors, allows several reports on a page."""

    run: Run
    folder: Path
    name: str = ""

    @property
    def prefix(self) -> str:
        return f"{self.name}-" if self.name else ""

    @property
    def sections(self) -> dict[str, str]:
        """The headings by anchor."""
        left_out = {"confusion"} if self.run.test.confusion is None else set()
        left_out |= {"suspects"} if self.run.suspects is None else set()
        left_out |= {"open-set"} if self.run.open_set is None else set()
        left_out |= {"images"} if not self.run.data.remarks else set()
        return {anchor: heading for anchor, heading in _SECTIONS.items() if anchor not in left_out}


def run_page(run: Run, folder: Path) -> str:
    """The page of one run, with the images of its folder embedded."""
    return _environment().get_template("report.html.j2").render(report=_Report(run, folder))


def comparison_page(runs: Sequence[Run], folder: Path) -> str:
    """The page of a training of several models: the comparison, and then the full report of each.

    The images are those of the runs' folders, which have the models' names, in `folder`.
    """
    names = [folder_name(run.model) for run in runs]
    _, *figures, _ = zip(*comparison_rows(runs), strict=True)  # models and accuracies have their own rows
    template = _environment().get_template("comparison.html.j2")
    return template.render(
        reports=[_Report(run, folder / name, name) for run, name in zip(runs, names, strict=True)],
        figures=[(name, cells) for name, *cells in figures],
        best=max(run.test.accuracy for run in runs),
        classes=[(runs[0].names[i], [run.test.class_accuracy[i] for run in runs]) for i in _listed(runs[0])],
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["most_rows"] = _MOST_ROWS
    environment.filters |= {
        "calibration_line": calibration_line,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "classes": _classes,
        "confused_pairs": _confused_pairs,
        "folds_lines": folds_lines,
        "hardest": _hardest,
        "left_out_classes": left_out_classes,
        "making": _making,
        "open_set_sentences": open_set_sentences,
        "percent": percent,
        "png": _png,
        "span": span,
        "stated": stated,
        "thousands": "{:,}".format,
    }
    return environment


@dataclass(frozen=True)
class _Class:
    """A class in the test: its number of images, recall with its interval in words, and precision."""

    name: str
    images: int
    recall: float | None
    interval: str
    precision: float | None


def _classes(run: Run) -> Iterator[_Class]:
    confusion = run.test.confusion
    for i in _listed(run):
        images, precision = 0, None
        if confusion:
            images, named = sum(confusion[i]), sum(row[i] for row in confusion)
            precision = confusion[i][i] / named if named else None
        share = run.test.class_accuracy[i]
        interval = "" if share is None or not confusion else span(share, images)
        yield _Class(run.names[i], images, share, interval, precision)


def _listed(run: Run) -> Sequence[int]:
    """The classes that have a row in a table: all, or those of the lowest recall if there are many."""
    return range(len(run.names)) if run.test.confusion is not None else worst_classes(run.test, _MOST_ROWS)


def _confused_pairs(run: Run) -> list[tuple[ConfusedPair, float]]:
    """The pairs of classes that are confused most often, each with its fraction of the class."""
    sizes = {name: sum(row) for name, row in zip(run.names, run.test.confusion or (), strict=False)}
    return [(pair, pair.count / sizes[pair.label]) for pair in most_confused(run.test, run.names)]


def _hardest(run: Run) -> str:
    worst = worst_classes(run.test, 1)[0]
    return f"{run.names[worst]}, {recall(run.test, worst).strip()}"


def _making(run: Run) -> dict[str, list[tuple[str, str]]]:
    """The training details of a run: tables of names and values, by caption."""
    data, (low, high) = run.data, run.value_range
    images = [
        ("source", data.source),
        ("layout", data.layout),
        ("training", f"{data.train_images:,}"),
        ("validation", f"{data.validation_images:,}"),
        ("test", f"{data.test_images:,}"),
        ("image", f"{run.dtype} {'×'.join(map(str, run.image_shape))}, values {low:g}–{high:g}"),
        ("fingerprint", data.fingerprint),
    ]
    speed = f"{len(run.history) * data.train_images / run.seconds:,.0f} images/s"
    workers = [("threads", str(run.threads)), ("processes", str(run.processes))]
    machine = [("device", run.device), *workers, *run.machine.items(), *run.versions.items(), ("speed", speed)]
    start = [("weights before", run.pretrained)] if run.pretrained else []
    if run.init is not None:
        start.append(("begins with", run.init.folder))
    made = [
        *_recipe(run),
        *start,
        ("seed", str(run.seed)),
        ("made", run.created.replace("T", " ").replace("+00:00", " UTC")),
    ]
    return {"Recipe": made, "Images": images, "Machine": machine}


def _recipe(run: Run) -> list[tuple[str, str]]:
    """A recipe's fields as text: those with words, and those that are not at their default."""
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


def _png(file: Path) -> dict[str, str | int]:
    """A PNG for the page, in its original size."""
    data = file.read_bytes()
    width, height = (round(int.from_bytes(data[i : i + 4], "big") * 96 / DPI) for i in (16, 20))  # of the PNG's IHDR
    return {"base64": base64.b64encode(data).decode(), "width": width, "height": height}
