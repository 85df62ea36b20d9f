"""How often a familiarity notices classes that were left out, where it can be fitted without them: for a frozen net.

Letters in shapes: N images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx

from clf_export.familiarity.fit import UNFAMILIAR
from clf_export.familiarity.fold_scores import Head, featured, head_of, score_in_folds
from clf_export.familiarity.images import FrozenImages, Images
from clf_runtime.evaluation.unknown import auroc
from clf_runtime.model.open_set import LEAST_TOLD, OpenSet

_DIGITS = 4


def with_familiarity_of_left_out(
    found: OpenSet | None, model: onnx.ModelProto, images: Images | FrozenImages | None
) -> OpenSet | None:
    """A run's record of left-out classes with the familiarity's own figures, as they are of its `rounds`.

    Unchanged where another net than the `model` would have to be trained for them, or where the images that the
    familiarity is fitted to are a choice in which a class has too few that the record tells of.
    """
    if found is None or not isinstance(images, FrozenImages):
        return found
    counts = np.bincount(images.labels, minlength=len(found.images))
    if any(counts[label] < LEAST_TOLD for label in found.told):
        return found
    aurocs: dict[int, float] = {}
    noticed: dict[int, float] = {}
    for known, foreign, labels in _scores(model, images, found.rounds):
        threshold = np.quantile(known, UNFAMILIAR)
        for label in np.unique(labels):
            those = foreign[labels == label]
            aurocs[label] = round(auroc(known, those), _DIGITS)
            noticed[label] = round(float((those < threshold).mean()), _DIGITS)
    told, classes = set(found.told), range(len(found.images))
    return replace(
        found,
        familiarity_auroc=tuple(aurocs[label] if label in told else None for label in classes),
        familiarity_noticed=tuple(noticed[label] if label in told else None for label in classes),
    )


def _scores(
    model: onnx.ModelProto, images: FrozenImages, rounds: Sequence[Sequence[int]]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each round the scores of known images [M], and of those of the classes left out [F], with labels int64 [F].

    Head and metric are fitted without these classes, and each image is scored by those of its fold, which it is new to.
    """
    found, head = featured(model.SerializeToString(deterministic=True), images), head_of(images)
    for left_out in rounds:
        is_foreign = np.isin(head.labels, left_out)
        classes, labels = np.unique(head.labels[~is_foreign], return_inverse=True)
        counts = None if head.counts is None else head.counts[~is_foreign]
        without = Head(labels, len(classes), counts, head.fold[~is_foreign])
        scores = score_in_folds(found.x[~is_foreign], found.h[~is_foreign], found.examples, without, images)
        foreign = np.empty(len(head.fold))
        for number in range(len(scores.of_folds)):
            mine = is_foreign & (head.fold == number)
            foreign[mine] = scores.by_fold(number, found.x[mine], found.h[mine])
        yield scores.known, foreign[is_foreign], head.labels[is_foreign]
