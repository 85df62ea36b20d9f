"""The pictures of a run, as PNG: sample sheets, learning curves, confusion matrices.

Made with matplotlib's Figure alone: no window system, no global state.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from clf_train.calibration import Calibration
from clf_train.checkpoint import Epoch
from clf_train.dataset import Dataset
from clf_train.metrics import TestMetrics

_SAMPLES = 10  # images of each class in a sheet
_MOST_CLASSES = 20  # in a sheet, and with numbers in the cells of a confusion matrix


def save_sheet(dataset: Dataset, file: Path) -> None:
    """Draw the first ten training images of each class (of the first twenty), a row a class, its name beside it."""
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
    _save(figure, file)


def for_display(image: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Turn one image [channels, height, width] into float32 [height, width, 3 or none] in 0..1, as it is seen."""
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
        axis.plot(epochs, values, marker="o", markersize=3, label="training, as the weights moved")
        if held_values:
            axis.plot([e.epoch for e in held], held_values, marker="o", markersize=3, label="validation")
            axis.legend(fontsize=8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    _save(figure, file)


def save_reliability(calibration: Calibration, file: Path) -> None:
    """Draw the reliability diagram, accuracy by probability, and beside it accuracy by the share that is answered."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="gray", linewidth=1)
    left.bar(
        [b.probability for b in calibration.bins],
        [b.accuracy for b in calibration.bins],
        width=1 / 18,
        edgecolor="white",
    )
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability that the model gives", ylabel="accuracy")
    left.set_title(f"calibration error {100 * calibration.error:.1f} %", fontsize=10)
    right.plot(
        [100 * c.share for c in calibration.coverage], [100 * c.accuracy for c in calibration.coverage], marker="o"
    )
    right.set(xlabel="images answered, the surest first (%)", ylabel="accuracy on them (%)", xlim=(0, 103))
    right.grid(alpha=0.3)
    _save(figure, file)


def save_confusion(metrics: TestMetrics, names: Sequence[str], file: Path) -> None:
    """Draw the confusion matrix: the colour of a cell is its share of the class's test images, its number the count."""
    counts = np.array(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(2.5 + 0.55 * len(names), 14)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axis, label="share of the class's test images", shrink=0.8)
    if len(names) <= _MOST_CLASSES:
        for (i, j), count in np.ndenumerate(counts):
            axis.text(j, i, str(count), ha="center", va="center", fontsize=8, color="w" if shares[i, j] > 0.5 else "k")
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("taken for")
    axis.set_ylabel("is")
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)  # a class may be called $x$
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing", UserWarning
        )  # a script that the font lacks shows as boxes
        figure.savefig(file, dpi=110, format="png")
