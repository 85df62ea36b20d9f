"""The test part of a source without one: the same rows everywhere, in training and on a device.

The rows are those of scikit-learn's stratified shuffle split (the largest-remainder share of each class, drawn by
numpy's legacy generator, whose stream is frozen: https://numpy.org/neps/nep-0019-rng-policy.html), computed
with numpy alone; a test compares them with scikit-learn's.
"""

import numpy as np

TEST_SHARE = 0.2
SPLIT_SEED = 0  # the same in every run, so that export and device find the images that were tested


def hold_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose a share of each class at random from `seed`: sorted rows, int64, at least one per class.

    `labels` are int64 [N]. Raises ValueError if a class has a single image, which cannot be on both sides.
    """
    _, of_row, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min(initial=2) < 2:
        raise ValueError("a class has only one image, so none can be held out")
    held = max(round(share * len(labels)), len(counts))
    generator = np.random.RandomState(seed)
    kept_counts = _apportion(counts, len(labels) - held, generator)
    held_counts = _apportion(counts - kept_counts, held, generator)
    rows = np.argsort(of_row, kind="stable")
    chosen = []
    for first, count, kept, out in zip(np.cumsum(counts) - counts, counts, kept_counts, held_counts, strict=True):
        shuffled = rows[first + generator.permutation(count)]
        chosen.append(shuffled[kept : kept + out])
    return np.sort(np.concatenate(chosen)) if chosen else rows


def _apportion(counts: np.ndarray, draws: int, generator: np.random.RandomState) -> np.ndarray:
    """Distribute `draws` to classes in proportion to `counts`, the rest by the largest remainders, ties at random."""
    exact = counts / counts.sum() * draws
    given: np.ndarray = np.floor(exact)
    remainder = exact - given
    left = int(draws - given.sum())
    for value in np.unique(remainder)[::-1]:
        if left <= 0:
            break
        tied = np.flatnonzero(remainder == value)
        lucky = generator.choice(tied, size=min(len(tied), left), replace=False)
        given[lucky] += 1
        left -= len(lucky)
    return given.astype(np.int64)
