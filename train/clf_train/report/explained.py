"""The worst mistakes of a report with where the wrong class was seen, by the occlusion that a device has too."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from clf_runtime.explanation.heat_map import displayed, overlay
from clf_runtime.explanation.occlusion import Scores, occlude
from clf_train.data.dataset import Dataset
from clf_train.evaluation.metrics import confused_examples
from clf_train.report.plots import GREY, save_figure, short

_MOST = 6  # mistakes that are explained, each by some 300 runs of the net,
_MOST_PIXELS = 6 * 64 * 64  # and fewer where together they have more pixels: a photograph may take a minute
_IN_A_ROW = 3
_LONGEST_NAME = 14  # characters


def save_explained(dataset: Dataset, probabilities: np.ndarray, scores: Scores, file: Path) -> None:
    """Draw the most confident error of each of the most confused pairs, and beside it where the wrong class was seen.

    `probabilities` are the model's for the test images, float32 [N, K], and `scores` computes those of any images of
    their kind. Writes no file if there are no errors, or the images are larger than 157 x 157.
    """
    _, high, wide = dataset.image_shape
    most = min(_MOST, _MOST_PIXELS // (high * wide))
    mistakes = confused_examples(probabilities, dataset.test.labels, most_pairs=most, most_examples=1)
    if not mistakes:
        return
    cell, gap, under = 1.25, 0.15, 0.4  # inches
    image_height = cell * min(max(high / wide, 0.5), 2)
    rows = -(-len(mistakes) // _IN_A_ROW)
    width, height = _IN_A_ROW * (2 * cell + 2 * gap), rows * (image_height + under)
    figure = Figure(figsize=(width, height))
    for i, mistake in enumerate(mistakes):
        error = mistake.examples[0]
        image = np.asarray(dataset.test.images[error.index])
        shown = displayed(image, dataset.value_range)
        heat = overlay(shown, occlude(image, scores, error.predicted).heat)
        row, column = divmod(i, _IN_A_ROW)
        left, bottom = column * (2 * cell + 2 * gap), height - row * (image_height + under) - image_height
        for place, picture in enumerate((shown, heat)):
            box = ((left + place * (cell + gap / 3)) / width, bottom / height, cell / width, image_height / height)
            axis = figure.add_axes(box)
            axis.set_axis_off()
            axis.imshow(picture)
        is_, taken_for = (short(dataset.names[label], _LONGEST_NAME) for label in (error.label, error.predicted))
        text = f"no. {error.index}: {is_}, predicted as {taken_for} {error.probability:.2f}"
        figure.text(left / width, (bottom - 0.15) / height, text, color=GREY, fontsize=7.5)
    save_figure(figure, file, transparent=True)
