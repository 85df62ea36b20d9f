"""The probe of a training: a few dozen fixed images, and the trained net's scores for them.

A net that is rebuilt later is compared with these, so that what is exported, repeated or resumed is the net that was
trained and tested, and not only one that loads.

Letters in shapes: P images of the probe, C channels, H height, W width, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from clf_runtime.errors import brief
from clf_train.data.dataset import Dataset
from clf_train.data.normalisation import Normalisation
from clf_train.errors import RunError
from clf_train.evaluation.inference import class_scores
from clf_train.loop.extra_state import changed, outside_state, restore

FILE = "probe.safetensors"
TOLERANCE = 1e-4  # of a score, relative to the image's largest: processors and releases round differently
_KINDS = ("real", "lowest", "highest", *6 * ("noise", "dark", "bright", "real", "real"))
_MOST_BYTES = 16 << 20  # of all images: fewer large ones, at least three


@dataclass(frozen=True)
class Probe:
    """Images, uint8 or float32 [P, C, H, W], and a net's scores for them, float32 [P, K]."""

    images: np.ndarray
    scores: np.ndarray


def choose_images(dataset: Dataset, seed: int) -> np.ndarray:
    """Choose the images of a probe, [P, C, H, W] in the dtype of the data; deterministic for equal data and seed.

    Training images of many classes, unchanged, darkened and brightened; noise; and all pixels at the lowest and at the
    highest value.
    """
    random = np.random.default_rng(seed)
    images, labels = dataset.train.images, dataset.train.labels
    low, high = dataset.value_range
    shuffled = random.permutation(len(labels))
    rows = shuffled[np.sort(np.unique(labels[shuffled], return_index=True)[1])]  # one of each class
    chosen = np.empty((max(3, min(len(_KINDS), _MOST_BYTES // images[0].nbytes)), *dataset.image_shape), images.dtype)
    for i, kind in enumerate(_KINDS[: len(chosen)]):
        image = images[rows[i % len(rows)]].astype(np.float64)
        match kind:
            case "lowest" | "highest":
                image[:] = low if kind == "lowest" else high
            case "noise":
                image = random.uniform(low, high, image.shape)
            case "dark":
                image = low + (image - low) / 8
            case "bright":
                image = high - (high - image) / 8
        chosen[i] = image.round() if images.dtype == np.uint8 else image
    return chosen


def answer(
    net: nn.Module, images: np.ndarray, normalise: Normalisation, device: torch.device, draw: int = 0
) -> np.ndarray:
    """Run a net on images [P, C, H, W] in evaluation mode, without side effects on the net and on random states.

    Returns scores float32 [P, K]. `draw` seeds the random numbers, which the net should not use.
    """
    with _undisturbed(net, device):
        torch.manual_seed(draw)
        scores: np.ndarray = class_scores(net, images, normalise, device).numpy()
    return scores


def differing(expected: np.ndarray, found: np.ndarray) -> str | None:
    """How two sets of scores, float32 [P, K] each, differ by more than rounding, in words; None if they do not."""
    if expected.shape != found.shape:
        return f"{found.shape[1]} scores per image instead of {expected.shape[1]}"
    most = TOLERANCE * np.maximum(1, np.abs(np.nan_to_num(expected, posinf=0, neginf=0)).max(axis=1, keepdims=True))
    with np.errstate(invalid="ignore"):  # infinity minus infinity, which are equal
        apart = np.abs(expected.astype(np.float64) - found)
    wrong = ~((apart <= most) | (expected == found) | (np.isnan(expected) & np.isnan(found)))
    rows = wrong.any(axis=1)
    if not rows.any():
        return None
    classes = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    largest = np.nanmax(np.where(np.isfinite(apart), apart, np.nan)[rows], initial=0)
    return (
        f"{int(rows.sum())} of {len(rows)} images of the probe get other scores, by up to {largest:.2g}, and {classes} "
        "another class"
    )


def pack(probe: Probe) -> bytes:
    """A probe as the bytes of a safetensors file."""
    from safetensors.numpy import save

    return save({"images": np.ascontiguousarray(probe.images), "scores": np.ascontiguousarray(probe.scores)})


def unpack(data: bytes, where: str) -> Probe:
    """Read a probe. Raises RunError, naming the file `where`, if it is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return Probe(**load(data))
    except (SafetensorError, TypeError, ValueError) as error:
        raise RunError(f"{where}: damaged: {brief(error)}") from None


@contextmanager
def _undisturbed(net: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore what a forward pass may change: random states, buffers, and plain attributes."""
    before = outside_state(net)
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    restore(net, {name: before[name] for name in changed(before, outside_state(net)) if name in before})
    with torch.no_grad():
        for buffer, value in buffers:
            if not torch.equal(buffer, value):  # NaN is never equal, and is restored too
                buffer.copy_(value)
