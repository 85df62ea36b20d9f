"""Picture files decoded and classified as on a device, and the golden picture of the model file.

Letters in shapes: N images, C channels, H height, W width, K classes.
"""

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from clf_export.errors import ParityError
from clf_export.proof.evidence import Evidence
from clf_export.proof.parity import TOLERANCE, run_onnx
from clf_export.proof.photo import PHOTO_TOLERANCE
from clf_runtime.classifier import Classifier
from clf_runtime.datasets.labelled import open_labelled
from clf_runtime.datasets.order import as_people_count
from clf_runtime.inputs.arrays import to_batch
from clf_runtime.inputs.files import picture_to_input
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.model.card import ModelCard
from clf_runtime.model.records import Golden, GoldenPicture
from clf_train.data import legacy_tensors
from clf_train.data.dataset import Dataset

MOST = 200  # pictures that are compared
_COLOURS = 63  # of the golden picture, beside the transparent one: a PNG of some kilobytes


def prove_pictures(model: bytes, dataset: Dataset, evidence: Evidence) -> int:
    """Decode and classify up to 200 test pictures of a source as a device does; returns their number.

    `model` is a complete file with its card. Each picture must become exactly the image that was tested, pixel for
    pixel, and its probabilities must equal PyTorch's within the tolerance. A model that takes photos is given the
    decoded picture, which Pillow must resize to the tested image; its probabilities may differ by what the graph's
    pixels may (see proof.photo). The result is 0 for a source of arrays.
    Raises ParityError, naming the picture, if one differs, or if a device would read others than were tested.
    """
    if not os.path.exists(dataset.source) or legacy_tensors.recognises(Path(dataset.source)):
        return 0
    classifier = Classifier(model, "the file", device="cpu")
    order = sorted if dataset.as_before else as_people_count
    labelled = open_labelled(dataset.source, classifier.card, skip_bad=bool(dataset.skipped), order=order)
    if labelled.opened.image_shape is not None:
        return 0
    if labelled.images != len(evidence.images):
        raise ParityError(
            f"{dataset.source}: a device reads {labelled.images:,} test pictures, the export {len(evidence.images):,}"
        )
    tolerance = PHOTO_TOLERANCE if classifier.card.input == "photo" else TOLERANCE
    done = 0
    for block in labelled.blocks():
        count = min(len(block.images), MOST - done)
        images = to_batch(evidence.images[done : done + count], classifier.card)
        pixels = [_resized(image, classifier.card) for image in block.images[:count]]
        apart = np.flatnonzero([not np.array_equal(a, b) for a, b in zip(pixels, images, strict=True)])
        if len(apart):
            raise ParityError(f"{block.places[apart[0]]}: becomes another image on a device than in training")
        answers = classifier.probabilities(block.images[:count])
        differences = np.abs(answers - evidence.reference[done : done + count]).max(axis=1)
        if differences.max() > tolerance:
            worst = int(differences.argmax())
            raise ParityError(f"{block.places[worst]}: probabilities on a device differ by {differences[worst]:.1e}")
        done += count
        if done == MOST:
            break
    return done


def _resized(image: np.ndarray, card: ModelCard) -> np.ndarray:
    """An image as the net takes it: a photo [h, w, C] resized by Pillow to [H, W, C], any other image as it is."""
    if card.input != "photo":
        return image
    channels, height, width = card.image_shape
    return array_to_input(image, channels, (height, width), card.picture_geometry)


def make_golden_picture(model: bytes, card: ModelCard, golden: Golden | None) -> GoldenPicture | None:
    """Make a picture from the first golden case, with another size and aspect ratio than the input, and classify it.

    It has few colours, and a transparent corner. None if the card has no geometry or the input is not a picture, or
    without Pillow.
    """
    channels, height, width = card.image_shape
    if golden is None or card.geometry is None or channels not in (1, 3) or card.value_range not in ((0, 1), (0, 255)):
        return None
    try:
        from PIL import Image
    except ImportError:
        return None
    dtype = np.dtype(card.dtype).newbyteorder("<")
    first = np.frombuffer(golden.images, dtype, channels * height * width).reshape(card.input_shape)
    pixels = first.transpose(1, 2, 0) if card.layout == "NCHW" else first
    if card.value_range == (0, 1):
        pixels = np.rint(pixels * 255)
    shown = Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8).squeeze())).convert("RGB")
    larger = shown.resize((width * 3 // 4 + 1, height * 5 // 4 + 1), Image.Resampling.BILINEAR).quantize(_COLOURS)
    colours = (larger.getpalette() or [])[: 3 * _COLOURS]
    larger.putpalette([*colours, *[0] * (3 * (_COLOURS + 1) - len(colours))])  # with one for what is transparent
    larger.paste(_COLOURS, (0, 0, larger.width // 4 + 1, larger.height // 4 + 1))
    stream = io.BytesIO()
    larger.save(stream, "PNG", transparency=_COLOURS, optimize=True)
    image = picture_to_input(stream.getvalue(), "the golden picture", card)
    return GoldenPicture(
        data=stream.getvalue(),
        input_sha256=hashlib.sha256(np.ascontiguousarray(image).data).hexdigest(),
        probabilities=tuple(run_onnx(model, to_batch(image, card))[0].tolist()),
    )


def with_golden_picture(model: bytes, card: ModelCard) -> ModelCard:
    """The card of `model` with a golden picture and its probabilities, or without one if there can be none."""
    return replace(card, golden_picture=make_golden_picture(model, card, card.golden))
