"""A training in folds: as many nets, each of which has not seen the images of its fold, whose predictions are kept.

What a net is worth is then measured on every image, and the number of epochs chosen by all of them, where a test part
or a validation part would be a handful (Stone, 1974, "Cross-validatory choice and assessment of statistical
predictions"). What is measured on a fold is not made better by the choice: its own epoch is chosen by the others.

Letters in shapes: N images, M of a fold, K classes, E epochs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clf_runtime.errors import brief
from clf_runtime.evaluation.interval import stated
from clf_train.data import spill
from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation
from clf_train.errors import RecipeError, RunError
from clf_train.files import whole_file
from clf_train.loop.checkpoint import Epoch
from clf_train.loop.fit import Watcher, fit
from clf_train.loop.fitted import OutOfFold
from clf_train.loop.head import fit_head, folds
from clf_train.models.architecture import Trick
from clf_train.models.recipe import LEAST_FOLDS, MOST_FOLDS, Recipe

FILES = "fold-*.npz"  # of the folds that are done, until the training is
_MOST_BYTES = 4 << 30  # of the scores of all epochs


@dataclass(frozen=True)
class Fold:
    """The training of one net: its epochs, and its scores for the images of its fold after each, float32 [E, M, K]."""

    history: tuple[Epoch, ...]
    scores: np.ndarray


def refuse_folds(count: int, recipe: Recipe, images: int, classes: int) -> None:
    """Raise RecipeError if images cannot be trained on in so many folds."""
    if not LEAST_FOLDS <= count <= MOST_FOLDS:
        raise RecipeError(f"folds must be {LEAST_FOLDS} to {MOST_FOLDS}, not {count}")
    if images < count:
        raise RecipeError(f"{images} images cannot be in {count} folds; choose fewer --folds")
    size = 4 * recipe.epochs * images * classes
    if size > _MOST_BYTES:
        raise RecipeError(
            f"folds would keep {size >> 30:,} GiB of scores ({recipe.epochs} epochs, {images:,} images, {classes:,} "
            f"classes), at most {_MOST_BYTES >> 30} are kept: choose fewer --epochs, or a --validation-share"
        )


def fit_folds(
    make_net: Callable[[], nn.Module],
    split: Split,
    count: int,
    recipe: Recipe,
    normalise: Normalisation,
    device: torch.device,
    seed: int,
    watcher: Watcher,
    folder: Path | None,
    tricks: Mapping[str, Trick] = {},
) -> tuple[OutOfFold, int]:
    """Train `count` nets, each without the images of its fold; returns their scores, and the best number of epochs.

    `make_net` gives a net as each training begins, on `device`. Each fold's result is kept in `folder`, if that is
    given, and read from there by a training that is resumed.
    Raises what `fit` does; RunError if a fold in `folder` is damaged.
    """
    fold = folds(split.labels, count, seed)
    classes = int(split.labels.max()) + 1
    done: list[Fold] = []
    for i in range(count):
        rows = np.flatnonzero(fold == i)
        file = None if folder is None else folder / FILES.replace("*", str(i + 1))
        if file is not None and file.exists():
            done.append(_read(file, (recipe.epochs, len(rows), classes)))
            watcher.step(1, recipe.epochs * (len(split) - len(rows)), float("nan"))
            continue
        done.append(_fit_one(make_net(), split, rows, classes, recipe, normalise, device, seed, watcher, tricks))
        if file is not None:
            _write(done[-1], file)
        last = done[-1].history[-1]
        right = stated(float((done[-1].scores[-1].argmax(1) == split.labels[rows]).mean()), len(rows))
        watcher.note(f"fold {i + 1} of {count}: accuracy {right} after {last.epoch} epoch{'s' * (last.epoch > 1)}")
    sizes = np.bincount(fold)
    scores = np.empty((len(split), classes), np.float32)
    epochs = []
    for i, one in enumerate(done):
        epochs.append(best_epoch([other for other in done if other is not one], np.delete(sizes, i)))
        scores[fold == i] = one.scores[epochs[-1] - 1]
    return OutOfFold(scores, fold, tuple(epochs)), best_epoch(done, sizes)


def best_epoch(done: Sequence[Fold], sizes: np.ndarray) -> int:
    """The epoch, from 1, of the highest accuracy over folds of so many images each; at equal ones the least loss."""
    figures = np.array([[(e.validation_accuracy, -(e.validation_loss or 0.0)) for e in one.history] for one in done])
    accuracy, loss = np.average(figures, axis=0, weights=sizes).T
    return int(np.lexsort((loss, accuracy.round(12)))[-1]) + 1


def _fit_one(
    net: nn.Module,
    split: Split,
    rows: np.ndarray,
    classes: int,
    recipe: Recipe,
    normalise: Normalisation,
    device: torch.device,
    seed: int,
    watcher: Watcher,
    tricks: Mapping[str, Trick],
) -> Fold:
    quiet = Watcher(step=watcher.step, stopping=watcher.stopping)
    if recipe.fit_head:
        others = np.setdiff1d(np.arange(len(split)), rows)
        seen = Split(spill.take(split.images, others), split.labels[others])
        fit_head(net, seen, normalise, device, seed, Watcher(stopping=watcher.stopping), None, recipe)
    scores = spill.empty((recipe.epochs, len(rows), classes), np.float32)
    found = fit(net, split, recipe, normalise, device, seed, quiet, rows, tricks=tricks, scores=scores)
    return Fold(found.history, scores)


def _write(fold: Fold, file: Path) -> None:
    """Write a fold atomically. Raises OSError as the system does."""
    history = np.array([astuple(epoch) for epoch in fold.history], np.float64)
    with whole_file(file) as partial, partial.open("wb") as stream:
        np.savez(stream, history=history, scores=fold.scores)


def _read(file: Path, shape: tuple[int, int, int]) -> Fold:
    """Read a fold whose scores have this shape. Raises RunError if it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as content:
            history, scores = content["history"], content["scores"]
        if scores.shape != shape or history.shape != (shape[0], len(fields(Epoch))):
            raise ValueError("it has another shape")
        epochs = tuple(Epoch(int(first), *rest) for first, *rest in history.tolist())
    except Exception as error:  # whatever a damaged file makes numpy and zipfile raise
        raise RunError(f"{file}: damaged: {brief(error)}; train again with --overwrite") from None
    return Fold(epochs, scores)
