"""The images of a report, as PNG: sample sheets, learning curves, confusion matrices, misclassified images.

Made with matplotlib's Figure only: no window system, no global state. Plots are black on white, and inverted in dark
mode. A sheet of misclassified images cannot be inverted, so it has a transparent background and grey text.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from clf_train.data.dataset import Dataset
from clf_train.evaluation.calibration import Calibration
from clf_train.evaluation.metrics import TestMetrics, confused_examples
from clf_train.evaluation.suspects import Suspects
from clf_train.loop.checkpoint import Epoch

_SAMPLES = 10  # images of each class in a sheet
_MOST_CLASSES = 20  # in a sheet, and with numbers in the cells of a confusion matrix
_MOST_EXAMPLES = 8  # images of each confused pair
_LONGEST_NAME = 40  # characters of a class's name in a heading
_LONGEST_UNDER = 15  # the same of a single image
DPI = 160
GREY = "#7b7f87"  # legible on white and on dark pages


def save_sheet(dataset: Dataset, file: Path) -> None:
    """Draw the first ten training images of each of the first twenty classes, one row per class, with its name."""
    names = dataset.names[:_MOST_CLASSES]
    figure = Figure(figsize=(1.6 + 0.8 * _SAMPLES, 0.85 * len(names) + 0.4), layout="constrained")
    axes = figure.subplots(len(names), _SAMPLES, squeeze=False)
    for label, row in enumerate(axes):
        indices = np.flatnonzero(dataset.train.labels == label)[:_SAMPLES]
        for axis in row:
            axis.set_axis_off()
        for axis, index in zip(row, indices, strict=False):
            axis.imshow(for_display(dataset.train.images[index], dataset.value_range), cmap="gray", vmin=0, vmax=1)
        row[0].text(-0.15, 0.5, names[label], transform=row[0].transAxes, ha="right", va="center", clip_on=False)
    save_figure(figure, file)


def for_display(image: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Convert an image [channels, height, width] for display: float32 [height, width] or [height, width, 3] in 0..1."""
    low, high = value_range
    hwc = (image.astype(np.float32).transpose(1, 2, 0) - low) / (high - low)
    clipped: np.ndarray = hwc.clip(0, 1)
    return clipped[:, :, 0] if clipped.shape[2] == 1 else clipped[:, :, :3]


def save_curves(history: Sequence[Epoch], file: Path) -> None:
    """Draw loss, accuracy and learning rate by epoch, side by side."""
    epochs = [e.epoch for e in history]
    figure = Figure(figsize=(11, 3), layout="constrained")
    held = [e for e in history if e.validation_loss is not None and e.validation_accuracy is not None]
    panels = [
        ("loss (nats)", [e.loss for e in history], [e.validation_loss for e in held]),
        (
            "accuracy (%)",
            [100 * e.accuracy for e in history],
            [100 * e.validation_accuracy for e in held if e.validation_accuracy is not None],
        ),
        ("learning rate at the end of the epoch", [e.learning_rate for e in history], []),
    ]
    for axis, (title, values, held_values) in zip(figure.subplots(1, 3), panels, strict=True):
        axis.plot(epochs, values, marker="o", markersize=3, label="training (running average)")
        if held_values:
            axis.plot([e.epoch for e in held], held_values, marker="o", markersize=3, label="validation")
            axis.legend(fontsize=8, frameon=False)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        if len(epochs) == 1:
            axis.set_xlim(0, 2)
        _quiet(axis)
        axis.xaxis.get_major_locator().set_params(integer=True)
    save_figure(figure, file)


def save_reliability(calibration: Calibration, file: Path) -> None:
    """Draw the reliability diagram, accuracy by confidence, and beside it accuracy by coverage."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="gray", linewidth=1)
    left.bar(
        [b.probability for b in calibration.bins],
        [b.accuracy for b in calibration.bins],
        width=1 / 18,
        edgecolor="white",
    )
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    left.set_title(f"expected calibration error {100 * calibration.error:.1f} %", fontsize=10)
    right.plot(
        [100 * c.share for c in calibration.coverage], [100 * c.accuracy for c in calibration.coverage], marker="o"
    )
    right.set(xlabel="coverage: images by decreasing confidence (%)", ylabel="accuracy on them (%)", xlim=(0, 103))
    for axis in (left, right):
        _quiet(axis)
    save_figure(figure, file)


def save_confusion(metrics: TestMetrics, names: Sequence[str], file: Path) -> None:
    """Draw the confusion matrix: a cell's colour is its fraction of the class's test images, its number the count.

    Writes no file if there is none.
    """
    if metrics.confusion is None:
        return
    counts = np.array(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(2.5 + 0.55 * len(names), 14)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axis, label="fraction of the true class", shrink=0.8)
    if len(names) <= _MOST_CLASSES:
        for (i, j), count in np.ndenumerate(counts):
            axis.text(j, i, str(count), ha="center", va="center", fontsize=8, color="w" if shares[i, j] > 0.5 else "k")
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    save_figure(figure, file)


def save_confused(dataset: Dataset, probabilities: np.ndarray, file: Path) -> None:
    """Draw test images of the most confused pairs, one row per pair, the most confident errors first.

    `probabilities` are the model's for the test images, float32 [N, K]; below each image are the probability of the
    wrong class, and the image's index in the test part. Writes no file if there are no errors.
    """
    mistakes = confused_examples(probabilities, dataset.test.labels, most_examples=_MOST_EXAMPLES)
    if not mistakes:
        return
    # Inches: a row has a heading, images in their aspect ratio, and a line below them.
    cell, heading, under, gap = 1.0, 0.3, 0.32, 0.12
    image = cell * min(max(dataset.image_shape[1] / dataset.image_shape[2], 0.5), 2)
    row_height = heading + image + under
    width = _MOST_EXAMPLES * cell + (_MOST_EXAMPLES - 1) * gap
    height = len(mistakes) * row_height
    figure = Figure(figsize=(width, height))
    for row, pair in enumerate(mistakes):
        top = height - row * row_height
        is_, taken_for = (short(dataset.names[label]) for label in (pair.label, pair.predicted))
        images = "image" if pair.count == 1 else "images"
        text = f"{is_}, predicted as {taken_for}: {pair.count:,} {images}"
        figure.text(0, (top - 0.22) / height, text, color=GREY, fontsize=10, fontweight="bold")
        for column, answer in enumerate(pair.examples):
            left, bottom = column * (cell + gap), top - heading - image
            axis = figure.add_axes((left / width, bottom / height, cell / width, image / height))
            axis.set_axis_off()
            shown = for_display(dataset.test.images[answer.index], dataset.value_range)
            axis.imshow(shown, cmap="gray", vmin=0, vmax=1)
            for x, side, note in ((0, "left", f"{answer.probability:.2f}"), (1, "right", f"no. {answer.index}")):
                place = ((left + x * cell) / width, (bottom - 0.14) / height)
                figure.text(*place, note, ha=side, color=GREY, fontsize=8)
    save_figure(figure, file, transparent=True)


def save_suspects(dataset: Dataset, suspects: Suspects, file: Path) -> None:
    """Draw the training images whose labels are suspected, numbered from 1 in their order, eight in a row.

    Above each is its label, below it the class that it is taken for. Writes no file if there are none.
    """
    if not suspects.first:
        return
    cell, line, gap = 1.0, 0.17, 0.12  # inches
    image = cell * min(max(dataset.image_shape[1] / dataset.image_shape[2], 0.5), 2)
    rows = -(-len(suspects.first) // _MOST_EXAMPLES)
    row_height = image + 3 * line
    width, height = _MOST_EXAMPLES * cell + (_MOST_EXAMPLES - 1) * gap, rows * row_height
    figure = Figure(figsize=(width, height))
    for i, suspect in enumerate(suspects.first):
        row, column = divmod(i, _MOST_EXAMPLES)
        left, top = column * (cell + gap), height - row * row_height
        axis = figure.add_axes((left / width, (top - line - image) / height, cell / width, image / height))
        axis.set_axis_off()
        shown = for_display(dataset.train.images[suspect.index], dataset.value_range)
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1)
        label, taken_for = (short(dataset.names[k], _LONGEST_UNDER) for k in (suspect.label, suspect.predicted))
        for y, text in ((top - 0.13, f"{i + 1}: {label}"), (top - line - image - 0.14, f"or {taken_for}?")):
            figure.text(left / width, y / height, text, color=GREY, fontsize=7)
    save_figure(figure, file, transparent=True)


def _quiet(axis: Axes) -> None:
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """A class's name in one line of at most `longest` characters."""
    name = " ".join(name.split())
    return name if len(name) <= longest else name[: longest - 1] + "…"


def save_figure(figure: Figure, file: Path, transparent: bool = False) -> None:
    """Write a figure as PNG, with its texts as they are."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)  # a class may be called $x$
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing", UserWarning
        )  # a script that the font lacks shows as boxes
        figure.savefig(file, dpi=DPI, format="png", transparent=transparent)
