"""The images that a familiarity is fitted to: known ones, held-out ones, and outliers made of them.

Letters in shapes: N images, C channels, H height, W width.
"""

from dataclasses import dataclass, field

import numpy as np

from clf_export.errors import FamiliarityError
from clf_export.familiarity.outliers import KINDS, make_outliers
from clf_export.int8.held_out import choose_images, spread
from clf_train.data import spill
from clf_train.data.dataset import Dataset
from clf_train.data.preparation import class_weights
from clf_train.runs.run import Run

LEAST_GIVEN = 10  # examples of what is no class, by which a familiarity is measured,
GIVEN_PARTS = 4  # a part of this many of them all
LEAST_HELD_OUT = 20  # images, below which a share of a twentieth means nothing
_KNOWN = 10_000  # training images at most,
_A_KIND = 800  # and outliers of each kind, fewer
_MOST_VALUES = 50_000_000  # where images are large: together they have no more values than this, or
_LEAST_A_KIND = 40
_MOST_FROZEN, _FROZEN_A_KIND = 2000, 10
_FOREIGN = "4x4 patches shuffled"


def _none() -> np.ndarray:
    return np.zeros((0, 0, 0, 0), np.float32)


@dataclass(frozen=True)
class Images:
    """What a familiarity is fitted to: `known` and `held_out` images, and `outliers` of each kind, [N, C, H, W].

    `fresh` outliers, of other images, are those by which it is measured. `unseen` says whether the net was trained
    without the `held_out` images. `given` are the user's examples of what is no class,
    [M, C, H, W], perhaps none, and `fresh_given` others of them, by which it is measured.
    """

    known: np.ndarray
    held_out: np.ndarray
    outliers: dict[str, np.ndarray]
    fresh: dict[str, np.ndarray]
    unseen: bool
    given: np.ndarray = field(default_factory=_none)
    fresh_given: np.ndarray = field(default_factory=_none)

    @property
    def foreign(self) -> np.ndarray:
        """One image that is of no class, for a golden case: [1, C, H, W]."""
        return self.fresh[_FOREIGN][:1]


@dataclass(frozen=True, eq=False)
class FrozenImages:
    """What the familiarity of a pretrained net is fitted to, of which only the head was: see neighbours.

    `known` images [N, C, H, W] have the `labels` int64 [N] of so many `classes`; the head was fitted under `penalty`,
    each image counting as `counts` [N], 1 if None, and has the `temperature`; `seed` is that of the folds. `fresh`
    outliers of each kind, made of them, are those by which it is measured; `given` and `fresh_given` are as in Images.
    """

    known: np.ndarray
    labels: np.ndarray
    classes: int
    penalty: float
    counts: np.ndarray | None
    temperature: float
    seed: int
    fresh: dict[str, np.ndarray]
    given: np.ndarray = field(default_factory=_none)
    fresh_given: np.ndarray = field(default_factory=_none)

    @property
    def foreign(self) -> np.ndarray:
        """One image that is of no class, for a golden case: [1, C, H, W]."""
        return self.fresh[_FOREIGN][:1]


def gather_images(dataset: Dataset, run: Run, given: np.ndarray | None = None) -> Images | FrozenImages:
    """Choose and make the images of a run's familiarity, from its training part alone, and those `given`, [M, C, H, W].

    Raises FamiliarityError if they are too few; DataError if there is no room for copies.
    """
    random = np.random.default_rng(run.seed)
    if run.head is not None and run.recipe.epochs == 0:
        return _of_frozen(dataset, run, run.head.penalty, random, given)
    chosen = choose_images(dataset, run, most_calibration=_KNOWN)
    found = min(len(chosen.validation), len(chosen.calibration))
    if found < LEAST_HELD_OUT:
        raise FamiliarityError(f"{found:,} held-out images are too few, {LEAST_HELD_OUT} are needed")
    return with_outliers(chosen.calibration, chosen.validation, chosen.unseen, run.value_range, random, given)


def with_outliers(
    known: np.ndarray,
    held_out: np.ndarray,
    unseen: bool,
    value_range: tuple[float, float],
    random: np.random.Generator,
    given: np.ndarray | None = None,
) -> Images:
    """These images [N, C, H, W], those given, and outliers of each kind that are made of the others: see Images."""
    a_kind = max(_LEAST_A_KIND, min(_A_KIND, len(known) // 8, _MOST_VALUES // (len(KINDS) * known[0].size)))
    outliers = _of_each_kind(known, a_kind, value_range, random)
    fresh = _of_each_kind(held_out, max(_LEAST_A_KIND, a_kind // 4), value_range, random)
    parts = split_given(known[:0] if given is None else given, random)
    return Images(known, held_out, outliers, fresh, unseen, *parts)


def split_given(given: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Examples [M, C, H, W] to fit and others to measure by: a quarter, none where that would be too few."""
    order = random.permutation(len(given))
    kept = len(given) // GIVEN_PARTS if len(given) // GIVEN_PARTS >= LEAST_GIVEN else 0
    return given[order[kept:]], given[order[:kept]]


def _of_frozen(
    dataset: Dataset, run: Run, penalty: float, random: np.random.Generator, given: np.ndarray | None
) -> FrozenImages:
    labels = dataset.train.labels
    if len(labels) < LEAST_HELD_OUT:
        raise FamiliarityError(f"{len(labels):,} training images are too few, {LEAST_HELD_OUT} are needed")
    rows = spread(np.arange(len(labels)), labels, _MOST_FROZEN, random)
    images, labels = spill.take(dataset.train.images, rows), labels[rows]
    fit, fresh = split_given(images[:0] if given is None else given, random)
    of_class = class_weights(labels, len(run.names), run.recipe)
    return FrozenImages(
        known=images,
        labels=labels,
        classes=len(run.names),
        penalty=penalty,
        counts=None if of_class is None else of_class[labels],
        temperature=run.temperature,
        seed=run.seed,
        fresh=_of_each_kind(images, _FROZEN_A_KIND, run.value_range, random),
        given=fit,
        fresh_given=fresh,
    )


def _of_each_kind(
    images: np.ndarray, most: int, value_range: tuple[float, float], random: np.random.Generator
) -> dict[str, np.ndarray]:
    """At most so many outliers of each kind, of random images."""
    made = {}
    for kind in KINDS:
        rows = random.permutation(len(images))[:most]
        made[kind] = make_outliers(images[rows], value_range, kind, random)
    return made
