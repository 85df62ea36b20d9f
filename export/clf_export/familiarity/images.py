"""The images that a familiarity is fitted to: known ones, held-out ones, and outliers made of them.

Letters in shapes: N images, C channels, H height, W width.
"""

from dataclasses import dataclass

import numpy as np

from clf_export.errors import FamiliarityError
from clf_export.familiarity.outliers import KINDS, make_outliers
from clf_export.int8.held_out import choose_images
from clf_train.data.dataset import Dataset
from clf_train.runs.run import Run

LEAST_HELD_OUT = 20  # images, below which a share of a twentieth means nothing
_KNOWN = 10_000  # training images at most,
_A_KIND = 800  # and outliers of each kind, fewer
_MOST_VALUES = 50_000_000  # where images are large: together they have no more values than this, or
_LEAST_A_KIND = 40


@dataclass(frozen=True)
class Images:
    """What a familiarity is fitted to: `known` and `held_out` images, and `outliers` of each kind, [N, C, H, W].

    `fresh` outliers, of other images, are those by which it is measured. `unseen` says whether the net was trained
    without the `held_out` images.
    """

    known: np.ndarray
    held_out: np.ndarray
    outliers: dict[str, np.ndarray]
    fresh: dict[str, np.ndarray]
    unseen: bool

    @property
    def foreign(self) -> np.ndarray:
        """One image that is of no class, for a golden case: [1, C, H, W]."""
        return self.fresh["4x4 patches shuffled"][:1]


def gather_images(dataset: Dataset, run: Run) -> Images:
    """Choose and make the images of a run's familiarity, from its training part alone.

    Raises FamiliarityError if they are too few; DataError if there is no room for copies.
    """
    chosen = choose_images(dataset, run, most_calibration=_KNOWN)
    found = min(len(chosen.validation), len(chosen.calibration))
    if found < LEAST_HELD_OUT:
        raise FamiliarityError(f"{found:,} held-out images are too few, {LEAST_HELD_OUT} are needed")
    random = np.random.default_rng(run.seed)
    size = chosen.calibration[0].size
    a_kind = min(_A_KIND, len(chosen.calibration) // 8, _MOST_VALUES // (len(KINDS) * size))
    a_kind = max(_LEAST_A_KIND, a_kind)

    def of_each_kind(images: np.ndarray, most: int) -> dict[str, np.ndarray]:
        made = {}
        for kind in KINDS:
            rows = random.permutation(len(images))[:most]
            made[kind] = make_outliers(images[rows], run.value_range, kind, random)
        return made

    outliers = of_each_kind(chosen.calibration, a_kind)
    fresh = of_each_kind(chosen.validation, max(_LEAST_A_KIND, a_kind // 4))
    return Images(chosen.calibration, chosen.validation, outliers, fresh, chosen.unseen)
