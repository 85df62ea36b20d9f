"""The proof that an image's answer never depends on the images that come with it, nor on how many they are.

Images of very different kinds are answered alone, and then in batches of many sizes, mixed: each must get the scores
that it gets alone. That is as exact as rounding lets it be, which varies with the size of a batch. So images are also
answered among dark and among bright neighbours, in batches of one size: there not even rounding may differ. Both hold
for PyTorch and for the ONNX file. In PyTorch, moreover, the scores of some images have no gradient, exactly zero, in
the pixels of the others.

Letters in shapes: P images of the pool, B images in a batch, C channels, H height, W width, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import nn

from clf_export.errors import ParityError, TranslationError
from clf_export.proof.parity import open_onnx
from clf_train.data.normalisation import Normalisation, as_tensor
from clf_train.models.own import describe_error

SIZES = (2, 3, 7, 64, 100, 257, 300)
_BESIDE = (2, 7, 257)  # sizes of the batches whose neighbours are changed
_GRADIENTS = (2, 5, 33)
_MOST_BYTES = 40 << 20  # of a batch in float32; larger batches of large images are left out
_MOST_GRADIENT_BYTES = 4 << 20  # the same where all that a net makes of a batch is kept
_ROUNDING = 1e-3  # of the span of an image's scores (or of 1): what the size of a batch may change
_NOTHING = 1e-6  # the same where the size is the same
_REAL, _NOISE, _FAINT = 20, 6, 8

Scores = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pool:
    """Images of very different kinds, uint8 or float32 [P, C, H, W].

    The first `faint` have values in the middle of the range only. The rows `neighbours` are put beside them: one that
    is darker and one that is brighter in every pixel, stripes and binary noise, which no image has more contrast than,
    and noise.
    """

    images: np.ndarray
    faint: int
    neighbours: tuple[int, ...]


def make_pool(images: np.ndarray, value_range: tuple[float, float]) -> Pool:
    """Choose real images, spread over `images` [N, C, H, W], and make up others within `value_range`: always the same.

    Real images and noise, made faint and as they are; real ones made dark; images of one value, of one bright pixel,
    and of the greatest contrast: stripes, squares, halves, binary noise, a ramp.
    """
    low, high = value_range
    random = np.random.default_rng(14)
    shape = images.shape[1:]
    real = images[np.unique(np.linspace(0, len(images) - 1, _REAL).astype(int))].astype(np.float64)
    noise = random.uniform(low, high, (_NOISE, *shape))
    faint = low + 0.4 * (high - low) + 0.2 * (np.concatenate([real[:_FAINT], noise[:2]]) - low)
    dark = low + 0.1 * (real[:4] - low)
    flat = np.broadcast_to(
        (low + (high - low) * np.array([0, 1, 0.25, 0.5])).reshape(4, *[1] * len(shape)), (4, *shape)
    )
    pixel = np.full((2, *shape), low)
    pixel.reshape(2, -1)[[0, 1], [0, pixel[0].size // 2]] = high
    down, across = np.indices(shape[1:])
    patterns = (across % 2, down % 2, (across + down) % 2, across >= shape[2] / 2, across / max(1, shape[2] - 1))
    drawn = [np.broadcast_to(pattern, shape) for pattern in patterns] + list(random.integers(0, 2, (2, *shape)))
    contrast = low + (high - low) * np.stack(drawn).astype(np.float64)
    pool = np.concatenate([faint, real, noise, dark, flat, pixel, contrast])
    if images.dtype == np.uint8:
        pool = pool.round()
    striped = len(pool) - len(contrast)
    lowest = striped - len(pixel) - len(flat)
    noisy = len(faint) + len(real)
    return Pool(pool.astype(images.dtype), len(faint), (lowest, lowest + 1, striped, len(pool) - 1, noisy))


def prove_independence(scores: Scores, pool: Pool, who: str) -> None:
    """Hold the scores of images in batches to those that each gets alone.

    `scores` answers a batch [B, C, H, W], all of it at once, with [B, K]; `who` is named in the error.
    Raises ParityError if an image is answered by its neighbours, by their number or its place among them, otherwise
    when it is asked again, or with NaN.
    """
    images = pool.images
    alone = np.concatenate([scores(images[i : i + 1]) for i in range(len(images))])
    if np.isnan(alone).any() or np.isposinf(alone).any():
        raise ParityError(f"{who} gives NaN or infinite scores for an image of the right range, so no file is written")
    _ask_again(scores, images[:1], alone[:1], who)
    random = np.random.default_rng(15)
    for size in _sizes(SIZES, images):
        rows = random.permutation(np.resize(np.arange(len(images)), max(size, len(images))))[:size]
        most = float(_apart(scores(images[rows]), alone[rows]).max())
        if not most <= _ROUNDING:
            _ask_again(scores, images[:1], alone[:1], who)
            raise _by_its_neighbours(who, f"in a batch of {size} scores are not those that each gets alone", most)
    for size in _sizes(_BESIDE, images):
        kept = random.integers(0, pool.faint, size // 2)
        places = random.permutation(size)[: len(kept)]
        answers = []
        for neighbour in pool.neighbours:
            batch = np.full(size, neighbour)
            batch[places] = kept
            answers.append(scores(images[batch])[places])
        most = max(float(_apart(answer, answers[0]).max()) for answer in answers[1:])
        if not most <= _NOTHING:
            _ask_again(scores, images[:1], alone[:1], who)
            raise _by_its_neighbours(who, f"in a batch of {size} scores change with the images beside", most)
    _ask_again(scores, images[:1], alone[:1], who)


def prove_gradients(net: nn.Module, normalise: Normalisation, pool: Pool) -> None:
    """Show that the scores of images have no gradient in the pixels of others of their batch; `net` is on the CPU.

    Says nothing of what has no gradient (a rounding, an index, what is computed without), nor where it is NaN.
    Raises ParityError if there is one.
    """
    random = np.random.default_rng(16)
    for size in _sizes(_GRADIENTS, pool.images, _MOST_GRADIENT_BYTES):
        rows = random.permutation(len(pool.images))[:size]
        chosen = torch.from_numpy(random.permutation(size) < (size + 1) // 2)
        with torch.enable_grad():
            x = normalise(as_tensor(pool.images[rows])).clone().requires_grad_()
            scores = net(x * 1)  # not x itself: a net may change in place what it is given
            if not scores.requires_grad:
                return
            weights = torch.from_numpy(random.uniform(0.5, 1.5, tuple(scores.shape)).astype(np.float32))
            for some in (chosen, ~chosen):
                try:
                    [found] = torch.autograd.grad(
                        (scores * weights)[some].sum(), x, retain_graph=True, allow_unused=True
                    )
                except RuntimeError:  # what cannot be differentiated is no fault in a net that is only run
                    return
                if found is None:
                    continue
                others = found[~some].nan_to_num(nan=0.0)
                if others.any():
                    what = f"in a batch of {size} scores of one image have a gradient in the pixels of another"
                    raise _by_its_neighbours("the net", what, float(others.abs().max()))


def torch_scores(net: nn.Module, normalise: Normalisation) -> Scores:
    """What gives a net's scores, float32 [B, K], for a batch; the net is on the CPU and in evaluation mode.

    Raises TranslationError if the net fails on a batch, or does not give as many rows.
    """

    def scores(images: np.ndarray) -> np.ndarray:
        try:
            with torch.inference_mode():
                given = net(normalise(as_tensor(images)))
        except Exception as error:
            raise TranslationError(f"the net fails on a batch of {len(images)}: {describe_error(error)}") from None
        if given.ndim != 2 or len(given) != len(images):
            raise TranslationError(
                f"the net gives {list(given.shape)} for a batch of {len(images)}; wanted: [{len(images)}, classes]"
            )
        array: np.ndarray = given.float().numpy()
        return array

    return scores


def onnx_scores(model: bytes) -> Scores:
    """What gives the scores of an exported model for a batch, by onnxruntime on the CPU: the input of its softmax.

    Probabilities would hide much: near 0 and 1 they hardly move. Where the graph does not end in a softmax they are
    all there is. Raises ParityError if onnxruntime does not run the model.
    """
    proto = onnx.ModelProto.FromString(model)
    last, output = proto.graph.node[-1], proto.graph.output[0]
    if last.op_type == "Softmax" and last.output[0] == output.name:
        output.name = last.input[0]
        proto.graph.node.remove(last)
    return open_onnx(proto.SerializeToString())


def _sizes(sizes: tuple[int, ...], images: np.ndarray, most: int = _MOST_BYTES) -> list[int]:
    return [size for size in sizes if size == sizes[0] or size * images[0].size * 4 <= most]


def _apart(given: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How far scores [B, K] lie from those expected, in parts of each image's span (or of 1): [B]; NaN is far.

    What is added to all scores of an image changes no probability, so scores are taken from the image's largest.
    """
    given, expected = (s.astype(np.float64) - s.max(axis=1, keepdims=True) for s in (given, expected))
    with np.errstate(invalid="ignore"):
        apart = np.where(given == expected, 0, np.abs(given - expected)).max(axis=1)
    span = np.where(np.isfinite(expected), -expected, 0).max(axis=1)
    far: np.ndarray = apart / np.maximum(1, span)
    return far


def _ask_again(scores: Scores, image: np.ndarray, before: np.ndarray, who: str) -> None:
    if not _apart(scores(image), before).max() <= _NOTHING:
        raise ParityError(
            f"{who} answers the same image otherwise when it is asked again, so no file is written: it draws random "
            "numbers in evaluation mode, or keeps something from one call to the next"
        )


def _by_its_neighbours(who: str, what: str, most: float) -> ParityError:
    return ParityError(
        f"{who} answers an image by the others of its batch, so no file is written: {what} (by up to {most:.1e}); "
        "forward() must treat each image, the first axis, by itself"
    )
