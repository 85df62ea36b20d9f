"""The proof of a file that takes photos: its geometry compared with Pillow's, its probabilities with the net's.

Letters in shapes: N images, C channels, H height, W width of the model's input, K classes; h, w height and width of a
photo.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from clf_export.errors import ParityError
from clf_export.graph.photo import PIXELS
from clf_export.proof.parity import compare, run_onnx
from clf_runtime.engine.engine import open_engine
from clf_runtime.errors import ModelError
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.model.geometry import Geometry

MOST_STEPS = 2  # of 255, by which a value may differ: one where a photo is reduced, two where it is enlarged
MOST_DIFFERING = 0.25  # of the values of one photo: where it is enlarged, many lie half-way between two steps
MOST_MEAN = 0.05  # of the values of all photos
PHOTO_TOLERANCE = 0.02  # of a probability of a float32 file, for these differences of its pixels
_EACH = 4  # photos of each size
_NOISE = 12  # steps, so that no photo is smoother than a camera's


@dataclass(frozen=True)
class PhotoProof:
    """How a file's probabilities for photos of several sizes compare with Pillow's geometry and the net's.

    `differing` is the share of the graph's values, in [0, 1], that differ from Pillow's, by at most `steps` of 255.
    `same_size` is the largest difference of a probability for test images of the model's size, `same_pixels` that for
    photos if the net gets the graph's pixels, `difference` that if it gets Pillow's.
    """

    photos: int
    differing: float
    steps: int
    same_size: float
    same_pixels: float
    difference: float

    def lines(self) -> list[str]:
        """The figures as aligned text."""
        return [
            f"photos of many sizes             {self.photos:,}",
            f"values that differ from Pillow's {100 * self.differing:.2f} %, by at most {self.steps} of 255",
            f"max. difference, probability     {self.difference:.2e}  (at most {PHOTO_TOLERANCE:g})",
            f"the same for identical pixels    {max(self.same_pixels, self.same_size):.2e}",
        ]


def prove_photos(
    model: bytes,
    images: np.ndarray,
    expected: np.ndarray,
    answer: Callable[[np.ndarray], np.ndarray],
    geometry: Geometry,
    tolerance: float,
    most: float = PHOTO_TOLERANCE,
) -> PhotoProof:
    """Compare a file that takes photos with Pillow's geometry and the net. Raises ParityError if they differ.

    `images` uint8 [N, C, H, W] are test images and `expected` [N, K] the net's probabilities for them; `answer` gives
    those for any others. For identical pixels a probability may differ by `tolerance`, for the graph's pixels from that
    for Pillow's by `most`.
    """
    channels = images.shape[1]
    size = (images.shape[2], images.shape[3])
    try:
        engine, spy = (open_engine(m, "the exported model", device="cpu") for m in (model, _showing_pixels(model)))
        own_size = run_onnx(model, as_photos(images), batch=1)
        shares, steps, answers, theirs, graphs = [], 0, [], [], []
        for photo in made_photos(images):
            wanted = array_to_input(photo, channels, size, geometry).transpose(2, 0, 1)
            pixels = spy.run_all(photo[None])[-1][0]
            off = np.abs(pixels.astype(np.int16) - wanted)
            shares.append(float((off > 0).mean()))
            steps = max(steps, int(off.max()))
            answers.append(engine.run(photo[None])[0])
            theirs.append(wanted)
            graphs.append(pixels)
    except ModelError as error:
        raise ParityError(f"onnxruntime cannot run the model on photos, so no file is written: {error}") from None
    given = np.stack(answers)
    nothing = np.zeros(len(given), np.int64)  # no labels
    proof = PhotoProof(
        photos=len(given),
        differing=float(np.mean(shares)),
        steps=steps,
        same_size=compare(expected, own_size, np.zeros(len(expected), np.int64)).max_difference,
        same_pixels=compare(answer(np.stack(graphs)), given, nothing).max_difference,
        difference=compare(answer(np.stack(theirs)), given, nothing).max_difference,
    )
    wrong = [
        (steps > MOST_STEPS, f"a value differs from Pillow's by {steps} of 255"),
        (max(shares) > MOST_DIFFERING, f"of a photo {100 * max(shares):.0f} % of the values differ from Pillow's"),
        (proof.differing > MOST_MEAN, f"{100 * proof.differing:.1f} % of all values differ from Pillow's"),
        (proof.same_size > tolerance, f"on images of its size a probability differs by {proof.same_size:.2e}"),
        (proof.same_pixels > tolerance, f"on equal pixels a probability differs by {proof.same_pixels:.2e}"),
        (proof.difference > most, f"a probability differs from Pillow's by {proof.difference:.2e}"),
    ]
    for is_wrong, what in wrong:
        if is_wrong:
            raise ParityError(f"photos differ from Pillow's and the net's results, so no file is written: {what}")
    return proof


def as_photos(images: np.ndarray) -> np.ndarray:
    """Images uint8 [N, C, H, W] as photos [N, H, W, 3]; grey ones have three channels alike."""
    last = images.transpose(0, 2, 3, 1)
    return np.broadcast_to(last, (*last.shape[:3], 3))


def made_photos(images: np.ndarray) -> Iterator[np.ndarray]:
    """Photos uint8 [h, w, 3] made from test images [N, C, H, W]: smaller, larger, wide, tall, one pixel high.

    They are the same every time; grey images become coloured, with one image per channel.
    """
    from PIL import Image

    random = np.random.default_rng(0)
    sources = as_photos(images) if images.shape[1] == 3 else images[:, 0]
    for h, w in photo_sizes(images.shape[2], images.shape[3]):
        for _ in range(_EACH):
            chosen = sources[random.integers(0, len(sources), 1 if sources.ndim == 4 else 3)]
            photo = chosen[0] if sources.ndim == 4 else np.stack(list(chosen), axis=2)
            large = Image.fromarray(photo).resize((w, h), Image.Resampling.BICUBIC)
            noisy = np.asarray(large, np.int16) + random.integers(-_NOISE, _NOISE + 1, (h, w, 3), np.int16)
            yield np.clip(noisy, 0, 255).astype(np.uint8)


def photo_sizes(high: int, wide: int) -> list[tuple[int, int]]:
    """The (height, width) of photos that test a geometry for an input of (high, wide)."""
    larger = [(2 * high, 2 * wide), (high + 1, wide + 1), (3 * high + 1, 2 * wide + 1), (480, 640)]
    long = [(high, 4 * wide), (4 * high, wide), (9 * high + 1, 2 * wide), (2 * high, 9 * wide + 1)]
    smaller = [(high // 2 + 1, wide // 2 + 1), (high - 1, 3 * wide), (3 * high, wide - 1)]
    return [(high, wide), *larger, *long, *smaller, (1, 1), (1, 3 * wide), (3 * high, 1)]


def _showing_pixels(model: bytes) -> bytes:
    """The same model, with the pixels that its geometry makes as a second output."""
    proto = onnx.ModelProto.FromString(model)
    proto.graph.output.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, None))
    return bytes(proto.SerializeToString())
