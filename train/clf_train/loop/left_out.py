"""A training without some of the classes: which images it gets, by which recipe, and its scores for the others.

Letters in shapes: N images, M of known classes that are held out, F of left-out classes, K known classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from clf_train.data import spill
from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation
from clf_train.data.preparation import class_weights
from clf_train.errors import RecipeError, Stopped
from clf_train.evaluation.inference import class_scores
from clf_train.loop.fit import Watcher, fit
from clf_train.loop.head import FOLDS, PENALTIES, fit_head, folds, rotate, solve
from clf_train.models.architecture import Trick
from clf_train.models.recipe import Recipe

_SHORT = 0.2  # of a run's epochs, but
_LEAST_STEPS = 350  # so many steps, if the run had them
_HOLD_OUT = 5  # a fifth of the known images, where the run itself held out fewer than
_ENOUGH = 1000  # of which the threshold is that of the fiftieth
_MOST_KNOWN, _MOST_OF_A_CLASS = 5000, 1000  # images that are scored

Scores = tuple[np.ndarray, int, np.ndarray, np.ndarray]  # known [M, K], how many right, foreign [F, K], labels [F]


def refuse_open_set(at_once: int, classes: int) -> None:
    """Raise RecipeError if so many of the classes cannot be left out at a time."""
    if classes < 3:
        raise RecipeError(
            f"--open-set needs three classes or more, here are {classes}: a net that knows one tells none"
        )
    if not 1 <= at_once <= classes - 2:
        raise RecipeError(f"--open-set must be 1 to {classes - 2} of {classes:,} classes, not {at_once}")


def choose_rounds(classes: int, at_once: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """The labels that each training is without, at random from `seed`: each of them once, at most `at_once` a time."""
    order = np.random.default_rng(seed).permutation(classes)
    return tuple(tuple(sorted(part.tolist())) for part in np.array_split(order, -(-classes // at_once)))


@dataclass(frozen=True)
class Rows:
    """Which images a training gets, and which it is asked about: `fitted`, `known` [M], `foreign` [F], all int64."""

    fitted: np.ndarray
    known: np.ndarray
    foreign: np.ndarray


def choose_rows(
    labels: np.ndarray, left_out: Sequence[int], held_out: np.ndarray | None, number: int, seed: int
) -> Rows:
    """The rows of a training without some classes, of labels int64 [N], in the round of this `number`.

    Known images are those that the run held out; where these are few, a fifth of each class, another in each round.
    Foreign are all images of the classes left out, since the net sees none.
    """
    random = np.random.default_rng((seed, number))
    is_foreign = np.isin(labels, left_out)
    if held_out is None or len(held_out) < _ENOUGH:
        apart = folds(labels, _HOLD_OUT, seed) == number % _HOLD_OUT
        apart &= np.bincount(labels)[labels] > 1  # the net would not know a class whose one image is held out
    else:
        apart = np.isin(np.arange(len(labels)), held_out)
    fitted = ~apart & ~is_foreign
    apart &= np.isin(labels, labels[fitted])  # all of a class may be held out
    foreign = [random.permutation(np.flatnonzero(labels == label))[:_MOST_OF_A_CLASS] for label in left_out]
    known = random.permutation(np.flatnonzero(apart & ~is_foreign))[:_MOST_KNOWN]
    return Rows(np.flatnonzero(fitted), np.sort(known), np.sort(np.concatenate(foreign)))


def shorten(recipe: Recipe, images: int) -> Recipe:
    """The recipe with a fifth of its epochs, or as many as make 350 steps with so many images, but no more than it has.

    The last epoch is kept, so that no image that the net is asked about chooses it.
    """
    steps = max(1, -(-images // recipe.batch_size))
    epochs = min(recipe.epochs, max(-(-_LEAST_STEPS // steps), round(_SHORT * recipe.epochs)))
    return replace(recipe, epochs=epochs, validation_share=0.0, patience=0)


def train_without(
    make_net: Callable[[int], nn.Module],
    split: Split,
    rows: Rows,
    recipe: Recipe,
    normalise: Normalisation,
    device: torch.device,
    seed: int,
    watcher: Watcher,
    tricks: Mapping[str, Trick] = {},
) -> Scores:
    """Train a net for the classes of the rows that are `fitted`, and score the known and the foreign rows.

    `make_net` gives a net for so many classes on `device`. Raises what `fit` does.
    """
    classes = np.unique(split.labels[rows.fitted])
    place = np.searchsorted(classes, split.labels)  # of no meaning for the classes left out
    some = Split(spill.take(split.images, rows.fitted), place[rows.fitted])
    net = make_net(len(classes))
    if recipe.fit_head:
        fit_head(net, some, normalise, device, seed, Watcher(stopping=watcher.stopping), None, recipe)
    fit(net, some, recipe, normalise, device, seed, watcher, tricks=tricks)
    known, foreign = (
        class_scores(net, split.images, normalise, device, which).numpy() for which in (rows.known, rows.foreign)
    )
    return known, int((known.argmax(1) == place[rows.known]).sum()), foreign, split.labels[rows.foreign]


def fit_heads_without(
    x: np.ndarray,
    labels: np.ndarray,
    left_out: Sequence[int],
    penalty: float,
    recipe: Recipe,
    seed: int,
    stopping: Callable[[], bool] = lambda: False,
) -> Scores:
    """Fit heads to features [N, F] without some classes, in folds: each image is scored by one that had not seen it.

    The left-out images are in the folds too: known and foreign ones are scored by the same heads. `penalty` is that of
    the run's head. Raises Stopped if it is `stopping`.
    """
    is_foreign = np.isin(labels, left_out)
    classes = np.unique(labels[~is_foreign])
    place = np.searchsorted(classes, labels)
    fold = folds(labels, FOLDS, seed)
    scores = np.zeros((len(labels), len(classes)))
    path = [stronger for stronger in PENALTIES if stronger >= penalty * 0.999]
    for i in range(FOLDS):
        if stopping():
            raise Stopped(1)
        fitted, others = (fold != i) & ~is_foreign, fold == i
        if not fitted.any() or not others.any():
            continue
        turned, _, _ = rotate(x, fitted)
        counts = class_weights(place[fitted], len(classes), recipe)
        each = None if counts is None else counts[place[fitted]]
        *_, (weight, bias) = solve(turned[fitted], place[fitted], len(classes), path, each)
        scores[others] = turned[others] @ weight.T + bias
    known, foreign = scores[~is_foreign], scores[is_foreign]
    return known, int((known.argmax(1) == place[~is_foreign]).sum()), foreign, labels[is_foreign]
