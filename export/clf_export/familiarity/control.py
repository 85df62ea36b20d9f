"""The control of a familiarity: known images, changed as foreign ones come, without changing what they show.

What is made or taken in another way is often called unknown whatever it shows (a shortcut: Geirhos et al., 2020,
"Shortcut learning in deep neural networks", https://arxiv.org/abs/2004.07780). How much of what a score notices is of
that kind is told by images of the known classes that are changed in the same ways: a little, as by another camera, and
entire, but smaller and on another ground, as cut-out foreign pictures are.

Letters in shapes: N images, C channels, H height, W width. Values are float32 in 0..1 inside, with black at 0.
"""

import io
from collections.abc import Sequence

import numpy as np
import onnx

from clf_export.familiarity.fold_scores import featured, head_of, score_in_folds
from clf_export.familiarity.images import LEAST_HELD_OUT, FrozenImages, Images
from clf_export.familiarity.outliers import Maker, Random, blur, others, shrunk
from clf_export.familiarity.outputs import second_output
from clf_runtime.model.familiarity import Control

_MOST, _MOST_FROZEN = 200, 40  # images of each kind
_QUALITY = 75  # of JPEG, with a colour for four pixels (4:2:0), Pillow's own


def measure_control(
    model: onnx.ModelProto,
    answered: bytes,
    images: Images | FrozenImages,
    value_range: tuple[float, float],
    threshold: float,
) -> Control | None:
    """How often known images, changed, are unknown by the familiarity of `answered`, the `model` with it.

    They are held out from what the familiarity was fitted to. None if they are fewer than LEAST_HELD_OUT.
    Raises ModelError if onnxruntime cannot run the model.
    """
    random = np.random.default_rng(0)
    known, most = (images.known, _MOST_FROZEN) if isinstance(images, FrozenImages) else (images.held_out, _MOST)
    rows = np.sort(random.permutation(len(known))[:most])
    if len(rows) < LEAST_HELD_OUT:
        return None
    changed = {kind: change(known[rows], value_range, kind, random) for kind in KINDS}
    if isinstance(images, FrozenImages):
        shares = called_unknown(model, images, rows, list(changed.values()), threshold)
    else:
        shares = [float((second_output(answered, those) < threshold).mean()) for those in changed.values()]
    return Control(len(rows), tuple(changed), tuple(shares))


def called_unknown(
    model: onnx.ModelProto, images: FrozenImages, rows: np.ndarray, changed: Sequence[np.ndarray], threshold: float
) -> list[float]:
    """The share of changed known images, each [M, C, H, W] of the `rows` int64 [M], that is unknown by a frozen net.

    Each is scored by the head and the metric that had not seen the image that it was made of.
    """
    found = featured(model.SerializeToString(deterministic=True), images)
    head = head_of(images)
    scores = score_in_folds(found.x, found.h, found.examples, head, images)
    least = np.quantile(scores.known, threshold)
    shares = []
    for those in changed:
        x, h = found.of(those)
        score = np.empty(len(rows))
        for number in np.unique(head.fold[rows]):
            mine = head.fold[rows] == number
            score[mine] = scores.by_fold(number, x[mine], h[mine])
        shares.append(float((score < least).mean()))
    return shares


def change(images: np.ndarray, value_range: tuple[float, float], kind: str, random: Random) -> np.ndarray:
    """Images [N, C, H, W], changed in one of the ways `KINDS`, in their dtype and range."""
    low, high = value_range
    scaled = (images.astype(np.float32) - low) / (high - low)
    made = np.clip(KINDS[kind](scaled, random), 0, 1) * (high - low) + low
    return (np.rint(made) if images.dtype == np.uint8 else made).astype(images.dtype)


def _moved(x: np.ndarray, random: Random) -> np.ndarray:
    """Each image a thirty-second of its side, at least a pixel, down and to the right, with the edges repeated."""
    down, right = (max(1, side // 32) for side in x.shape[2:])
    wide = np.pad(x, ((0, 0), (0, 0), (down, 0), (right, 0)), mode="edge")
    return wide[:, :, : x.shape[2], : x.shape[3]]


def _jpeg(x: np.ndarray, random: Random) -> np.ndarray:
    """Each image after JPEG; with other channels than one or three, each channel after it."""
    from PIL import Image

    if x.shape[1] not in (1, 3):
        count, channels, height, width = x.shape
        return _jpeg(x.reshape(-1, 1, height, width), random).reshape(count, channels, height, width)
    out = np.empty_like(x)
    for i, image in enumerate(np.rint(255 * x.clip(0, 1)).astype(np.uint8)):
        stream = io.BytesIO()
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
        with Image.open(stream) as coded:
            array = np.asarray(coded, np.float32) / 255
        out[i] = array if len(image) == 1 else array.transpose(2, 0, 1)
    return out


KINDS: dict[str, Maker] = {
    "moved a little": _moved,
    "a fifth brighter": lambda x, random: x * 1.2,
    "a fifth darker": lambda x, random: x * 0.8,
    "coded as JPEG": _jpeg,
    "slightly blurred": lambda x, random: (x + blur(x, 1)) / 2,
    "with a little noise": lambda x, random: x + random.normal(0, 0.02, x.shape).astype(np.float32),
    "smaller, on white": lambda x, random: shrunk(x, np.ones_like(x)),
    "smaller, on another image": lambda x, random: shrunk(x, others(x, random)),
}
