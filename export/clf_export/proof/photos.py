"""Photographs of many sizes through the geometry in the graph, beside Pillow's: the proof of a file for photographs.

Letters in shapes: H and W the size of the model's input.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from clf_export.errors import ParityError, TranslationError
from clf_export.graph.photo import geometry_alone
from clf_export.proof.evidence import Evidence
from clf_export.proof.parity import run_onnx
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.model.card import ModelCard
from clf_runtime.model.geometry import UNSTATED, Geometry
from clf_train.runs.run import Run

MOST_STEPS = 1  # of 255, by which a pixel may differ from Pillow's
TOLERANCE = 0.02  # of a probability, where some pixels differ by a step
_IMAGES = 3  # test images that photographs are made of
_SHAPES = ((2.5, 1.7), (0.6, 3.1), (4.0, 4.0), (0.4, 0.7), (1.0, 1.3), (0.0, 2.0), (2.0, 0.0))  # of the input's sides


@dataclass(frozen=True)
class PhotoProof:
    """What was compared: photographs, the share of their pixels that differ by a step, and the largest difference."""

    photographs: int
    differing_pixels: float
    max_difference: float


def refuse_photo(run: Run) -> None:
    """Raise TranslationError unless the images of a run are pixels of pictures, made by a stated geometry."""
    if run.geometry == UNSTATED:
        raise TranslationError(
            "the run states no geometry (it is of an earlier clf-edge): train again for --input photo"
        )
    if run.dtype != "uint8" or run.image_shape[0] != 3:
        raise TranslationError(
            f"--input photo is for models of uint8 images of 3 channels, this one takes {run.dtype} of "
            f"{run.image_shape[0]}"
        )


def as_photo(card: ModelCard) -> ModelCard:
    """The card of the file with the geometry in the graph, for the card of the one without."""
    golden = card.golden
    if golden is not None:
        images = np.frombuffer(golden.images, np.uint8).reshape(-1, *card.image_shape)
        golden = replace(golden, images=np.ascontiguousarray(images.transpose(0, 2, 3, 1)).tobytes())
    return replace(card, layout="NHWC", input="photo", golden=golden)


def prove_photos(model: bytes, geometry: Geometry, evidence: Evidence) -> PhotoProof:
    """Answer photographs of many sizes and shapes with a file, and by Pillow's geometry with PyTorch.

    Raises ParityError if a pixel differs by more than one step of 255, or a probability by more than TOLERANCE.
    """
    size = (evidence.images.shape[2], evidence.images.shape[3])
    alone = geometry_alone(geometry, size).SerializeToString()
    count, pixels, differing, largest = 0, 0, 0, 0.0
    for photo in _photographs(evidence.images[:_IMAGES]):
        wanted = array_to_input(photo, 3, size, geometry).transpose(2, 0, 1)[None]
        steps = np.abs(run_onnx(alone, photo[None], batch=1).astype(int) - wanted)
        if steps.max() > MOST_STEPS:
            raise ParityError(f"a photograph of {photo.shape[1]}x{photo.shape[0]} becomes another image in the graph")
        difference = float(np.abs(run_onnx(model, photo[None], batch=1) - evidence.answer(wanted)).max())
        if difference > TOLERANCE:
            raise ParityError(
                f"a photograph of {photo.shape[1]}x{photo.shape[0]}: probabilities differ by {difference:.1e}"
            )
        count, pixels, differing = count + 1, pixels + steps.size, differing + int((steps > 0).sum())
        largest = max(largest, difference)
    return PhotoProof(count, differing / pixels, largest)


def _photographs(images: np.ndarray) -> Iterator[np.ndarray]:
    """Test images uint8 [N, 3, H, W] made photographs of other sizes and shapes, uint8 [height, width, 3]."""
    for image in images:
        for down, across in _SHAPES:
            high, wide = (max(1, round(side * by)) for side, by in zip(image.shape[1:], (down, across), strict=True))
            yield array_to_input(image.transpose(1, 2, 0), 3, (high, wide), Geometry("stretch"))
