"""The proof that the output for an image depends neither on the other images in its batch nor on the batch size.

Very different images are run one at a time, and then in mixed batches of many sizes: each must get the same scores, up
to rounding, which varies with the batch size. So images are also run beside dark and beside bright ones in batches of
the same size, where not even rounding may differ. PyTorch and the ONNX file must both pass. In PyTorch, moreover, the
gradient of the scores of some images with respect to the pixels of the others must be exactly zero.

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
_MOST_BYTES = 40 << 20  # of a batch in float32; larger batches of large images are skipped
_MOST_GRADIENT_BYTES = 4 << 20  # the same where all activations of a batch are kept
_ROUNDING = 1e-3  # of the range of an image's scores (or of 1): tolerance between batch sizes
_NOTHING = 1e-6  # the same at equal batch size
_REAL, _NOISE, _FAINT = 20, 6, 8

Scores = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pool:
    """Very different images, uint8 or float32 [P, C, H, W].

    The first `faint` only have values in the middle of the range. The rows `neighbours` fill up their batches: one
    image that is darker and one that is brighter in every pixel, stripes and binary noise, which have the highest
    possible contrast, and uniform noise.
    """

    images: np.ndarray
    faint: int
    neighbours: tuple[int, ...]


def make_pool(images: np.ndarray, value_range: tuple[float, float]) -> Pool:
    """Pick real images, spread over `images` [N, C, H, W], and add synthetic ones in `value_range`; deterministic.

    Real images and noise, at full and at low contrast; darkened real images; constant images, single bright pixels, and
    patterns of the highest contrast: stripes, a checkerboard, halves, binary noise, a ramp.
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
    """Check that images get the same scores in batches as one at a time.

    `scores` runs a batch [B, C, H, W] in one call and gives [B, K]; `who` is named in the error.
    Raises ParityError if an image's scores depend on the rest of the batch, on its size or on the image's position in
    it, if they differ between two calls, or if they are NaN or infinite.
    """
    images = pool.images
    alone = np.concatenate([scores(images[i : i + 1]) for i in range(len(images))])
    if np.isnan(alone).any() or np.isposinf(alone).any():
        raise ParityError(f"{who} gives NaN or infinite scores for an image in the valid range, so no file is written")
    _ask_again(scores, images[:1], alone[:1], who)
    random = np.random.default_rng(15)
    for size in _sizes(SIZES, images):
        rows = random.permutation(np.resize(np.arange(len(images)), max(size, len(images))))[:size]
        most = float(_apart(scores(images[rows]), alone[rows]).max())
        if not most <= _ROUNDING:
            _ask_again(scores, images[:1], alone[:1], who)
            raise _by_its_neighbours(who, f"in a batch of {size}, scores differ from those of each image alone", most)
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
            raise _by_its_neighbours(who, f"in a batch of {size}, scores change with the other images", most)
    _ask_again(scores, images[:1], alone[:1], who)


def prove_gradients(net: nn.Module, normalise: Normalisation, pool: Pool) -> None:
    """Check by autograd that the scores of an image have no gradient with respect to the pixels of another.

    `net` is on the CPU. Blind to what carries no gradient (rounding, indexing, torch.no_grad) and to NaN gradients.
    Raises ParityError if there is one.
    """
    random = np.random.default_rng(16)
    for size in _sizes(_GRADIENTS, pool.images, _MOST_GRADIENT_BYTES):
        count = len(pool.images)  # fewer than a batch where there are few test images
        rows = random.permutation(np.resize(np.arange(count), max(size, count)))[:size]
        chosen = torch.from_numpy(random.permutation(size) < (size + 1) // 2)
        with torch.enable_grad():
            x = normalise(as_tensor(pool.images[rows])).clone().requires_grad_()
            scores = net(x * 1)  # not x itself: a net may modify its input in place
            if not scores.requires_grad:
                return
            weights = torch.from_numpy(random.uniform(0.5, 1.5, tuple(scores.shape)).astype(np.float32))
            for some in (chosen, ~chosen):
                try:
                    [found] = torch.autograd.grad(
                        (scores * weights)[some].sum(), x, retain_graph=True, allow_unused=True
                    )
                except RuntimeError:  # a net that is only run need not be differentiable
                    return
                if found is None:
                    continue
                others = found[~some].nan_to_num(nan=0.0)
                if others.any():
                    what = f"in a batch of {size}, the scores of one image have a gradient in the pixels of another"
                    raise _by_its_neighbours("the net", what, float(others.abs().max()))


def torch_scores(net: nn.Module, normalise: Normalisation) -> Scores:
    """A function from a batch to a net's scores, float32 [B, K]; the net is on the CPU and in evaluation mode.

    It raises TranslationError if the net fails on a batch or gives another number of rows.
    """

    def scores(images: np.ndarray) -> np.ndarray:
        try:
            with torch.inference_mode():
                given = net(normalise(as_tensor(images)))
        except Exception as error:
            raise TranslationError(f"the net fails on a batch of {len(images)}: {describe_error(error)}") from None
        if given.ndim != 2 or len(given) != len(images):
            raise TranslationError(
                f"the net gives {list(given.shape)} for a batch of {len(images)}, expected [{len(images)}, classes]"
            )
        array: np.ndarray = given.float().numpy()
        return array

    return scores


def onnx_scores(model: bytes) -> Scores:
    """A function from a batch to an exported model's scores, the input of its softmax, by onnxruntime on the CPU.

    Not the probabilities, which hardly move near 0 and 1, unless the graph does not end in a softmax.
    Raises ParityError if onnxruntime cannot run the model.
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
    """The largest difference of scores [B, K] from those expected, relative to each image's range of scores (or to 1).

    Returns [B]; NaN counts as a difference. Scores are taken relative to the image's largest, since a constant added to
    all of them changes no probability.
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
            f"{who} is not deterministic, so no file is written: it gives the same image different scores when called "
            "again; in evaluation mode it must neither draw random numbers nor keep state between calls"
        )


def _by_its_neighbours(who: str, what: str, most: float) -> ParityError:
    return ParityError(
        f"the output of {who} for an image depends on the rest of its batch, so no file is written: {what} (by up to "
        f"{most:.1e}); forward() must process each image (axis 0) independently"
    )
