"""The reference of the proof: the original file, unchanged, on pixels preprocessed by numpy as it was stated.

Nothing here is shared with the graph that is made. Letters in shapes: N images, C channels, H height, W width, K
classes.
"""

from collections.abc import Callable

import numpy as np

from clf_export.adoption.contract import Contract
from clf_export.adoption.original import Original
from clf_export.adoption.stated import Stated
from clf_export.errors import AdoptionError
from clf_export.proof.parity import at_once
from clf_runtime.errors import ModelError
from clf_runtime.model.records import MAX_CLASSES

_SUM_SLACK = 1e-3  # of a sum of probabilities

Scores = Callable[[np.ndarray], np.ndarray]


def original_scores(original: Original, stated: Stated, contract: Contract) -> Scores:
    """A function from pixels, uint8 [N, C, H, W], to the original's own output, float32 [N, K].

    It runs batches of the one size that the original takes, or of any. It raises AdoptionError if the original fails,
    or gives something else than K numbers an image.
    """

    def scores(images: np.ndarray) -> np.ndarray:
        step = original.batch or at_once(images.shape[1:])
        rows = []
        for first in range(0, len(images), step):
            block = images[first : first + step]
            filled = block if original.batch is None else np.resize(block, (step, *block.shape[1:]))
            given = original_output(original, stated, contract, filled)
            rows.append(given.reshape(step if original.batch else len(block), -1)[: len(block)].astype(np.float32))
        return np.concatenate(rows)

    return scores


def original_output(original: Original, stated: Stated, contract: Contract, images: np.ndarray) -> np.ndarray:
    """The original's own output for a batch, uint8 [N, C, H, W]: floats [N, K], or with further axes of size 1.

    Raises AdoptionError if the original fails, or gives anything else.
    """
    where, count = original.path, len(images)
    try:
        given = original.engine.run_all(preprocess(images, stated, contract))[original.output]
    except ModelError as error:
        size = "x".join(map(str, contract.image_shape))
        raise AdoptionError(f"{where}: fails on {count} images of {size}: {error}") from None
    wide = [n for n in given.shape[1:] if n != 1]
    if given.ndim < 2 or len(given) != count or len(wide) > 1:
        raise AdoptionError(f"{where}: gives {list(given.shape)} for {count} images, expected [{count}, classes]")
    if wide and wide[0] > MAX_CLASSES:
        raise AdoptionError(f"{where}: has {wide[0]:,} outputs, at most {MAX_CLASSES:,} classes are supported")
    return given


def preprocess(images: np.ndarray, stated: Stated, contract: Contract) -> np.ndarray:
    """Pixels, uint8 [N, C, H, W], as the original takes them, by the user's words."""
    values = images[:, ::-1] if stated.channels == "BGR" else images
    if contract.dtype != "uint8":
        low, high = contract.value_range
        axes = (1, -1, 1, 1)
        mean, std = (np.array(v, np.float32).reshape(axes) for v in (contract.mean, contract.std))
        scaled = values.astype(np.float32) / np.float32(255) * np.float32(high - low) + np.float32(low)
        values = (scaled - mean) / std
    if stated.layout == "NHWC":
        values = values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(values.reshape(len(images), *contract.shape).astype(contract.dtype))


def to_probabilities(scores: np.ndarray, stated: Stated) -> np.ndarray:
    """The original's output [N, K] as probabilities, float32 [N, K], or [N, 2] for an output of one number."""
    values = scores.astype(np.float64)
    if values.shape[1] == 1:
        second = 1 / (1 + np.exp(-values)) if stated.logits else values
        values = np.concatenate([1 - second, second], axis=1)
    elif stated.logits:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        values = powers / powers.sum(axis=1, keepdims=True)
    return values.astype(np.float32)


def check_names(where: object, stated: Stated, contract: Contract, classes: int) -> None:
    """Raise AdoptionError if the names do not fit the number of outputs."""
    named = len(contract.names)
    if named != max(2, classes):
        shown = f"{named:,} names are given" if stated.names else f"its own metadata has {named:,} names"
        one = " (one number: two names, of 0 and of 1)" * (classes == 1)
        raise AdoptionError(f"{where}: {shown}, but it has {classes:,} {'output' if classes == 1 else 'outputs'}{one}")


def check_scores(where: object, stated: Stated, scores: np.ndarray) -> None:
    """Raise AdoptionError if the original's output for the user's images, [N, K], is not what was stated of it."""
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores).all(axis=1)))
        raise AdoptionError(f"{where}: gives NaN or infinite scores for image {row}: check --range, --mean and --std")
    classes = scores.shape[1]
    are_shares = bool(scores.min() >= -_SUM_SLACK and scores.max() <= 1 + _SUM_SLACK)
    sums = scores.sum(axis=1)
    span = f"{scores.min():.3g} to {scores.max():.3g}"
    if classes == 1:
        if not (stated.logits or are_shares):
            raise AdoptionError(f"{where}: its outputs, {span}, are no probabilities: pass --logits if they are logits")
        return
    are_probabilities = are_shares and bool(np.abs(sums - 1).max() <= _SUM_SLACK)
    if stated.logits and are_probabilities:
        raise AdoptionError(f"{where}: its outputs are probabilities already, rows that sum to 1: leave out --logits")
    if stated.logits or are_probabilities:
        return
    if are_shares:
        raise AdoptionError(
            f"{where}: its outputs lie in 0..1 but do not sum to 1 ({sums.min():.3g} to {sums.max():.3g}): several "
            "labels an image (sigmoid) are not supported; pass --logits if a softmax is missing"
        )
    raise AdoptionError(f"{where}: its outputs, {span}, are no probabilities: pass --logits if they are logits")
