"""Suspected wrong labels: images that nets which had not seen them take for another class, surely.

Confident learning (Northcutt, Jiang and Chuang, 2021, Confident Learning: Estimating Uncertainty in Dataset Labels,
JAIR 70, https://arxiv.org/abs/1911.00068): a class is taken surely where its probability is at least the mean that it
has on the images labelled so. Letters in shapes: N images, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOST = 24  # that a run records


@dataclass(frozen=True)
class Suspect:
    """An image whose label may be wrong.

    `index` is its number among the training images, `place` its name; `label_probability` is that of its label, and
    `probability` that of the class that it is taken for.
    """

    index: int
    place: str
    label: int
    predicted: int
    label_probability: float
    probability: float


@dataclass(frozen=True)
class Suspects:
    """Of `images` that were predicted by nets that had not seen them the `count` with suspected labels.

    `first` are up to `MOST` of them, the most doubtful first.
    """

    images: int
    count: int
    first: tuple[Suspect, ...]


def find_suspects(probabilities: np.ndarray, labels: np.ndarray, place: Callable[[int], str]) -> Suspects:
    """Find suspected labels, int64 [N], by probabilities out of fold, float32 [N, K]; `place(i)` is image i's name.

    A suspect's likeliest class is another than its label, and surely so. The order is that of the difference between
    the probabilities of the two.
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels].astype(np.float64)
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, own, minlength=probabilities.shape[1])
    sure = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)  # [K]
    predicted = probabilities.argmax(axis=1)
    highest = probabilities[rows, predicted]
    found = np.flatnonzero((predicted != labels) & (highest >= sure[predicted]))
    found = found[np.argsort(own[found] - highest[found], kind="stable")]
    first = tuple(
        Suspect(i, _text(place(i)), int(labels[i]), int(predicted[i]), float(own[i]), float(highest[i]))
        for i in found[:MOST].tolist()
    )
    return Suspects(len(labels), len(found), first)


def _text(place: str) -> str:
    """A name as text that can be written, whatever bytes a file system has in it."""
    return place.encode("utf-8", "backslashreplace").decode()
