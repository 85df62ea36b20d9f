"""The exported file that a delivery is made of, and what is known of its answers."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from clf_export.delivery.labelled import LabelledImages, read_labelled
from clf_export.errors import DeliveryError
from clf_runtime.classifier import Classifier
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.model.card import ModelCard
from clf_runtime.model.file import read_model
from clf_runtime.model.golden import golden_images
from clf_runtime.model.interface import in_colour


@dataclass(frozen=True)
class Original:
    """An exported file: its bytes, graph and card, and its golden cases.

    `images` are as the file takes them, [cases, *input_shape] in the card's dtype; `expected` the probabilities in the
    card, float32 [cases, classes], to which `tolerance` applies. `labelled` are images of the user, if any were given.
    """

    path: Path
    data: bytes
    card: ModelCard
    images: np.ndarray
    expected: np.ndarray
    tolerance: float
    labelled: LabelledImages | None = None

    @property
    def graph(self) -> onnx.ModelProto:
        """A copy of the graph, to be changed."""
        model: onnx.ModelProto = onnx.ModelProto.FromString(self.data)
        return model

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.data).hexdigest()


def read_original(path: Path, labelled: str | None = None) -> Original:
    """Read an exported file, and run its self-test; with a source of labelled images, read some of these.

    Raises ModelError if it is no model; DeliveryError if it has no card with golden cases or fails its self-test;
    DataError if the images cannot be read.
    """
    data = read_model(path)
    classifier = Classifier(data, str(path), device="cpu")
    card = classifier.card
    if card.golden is None:
        raise DeliveryError(f"{path}: has no golden cases, by which a delivery is proven: export it with clf-export")
    tested = self_test(classifier)
    if not tested.passed:
        raise DeliveryError(f"{path}: fails its own self-test, so nothing is made of it: {tested.problem}")
    images = golden_images(card.golden, card)
    expected = np.array(card.golden.probabilities, np.float32)
    known = None if labelled is None else read_labelled(labelled, card)
    images = in_colour(images) if card.input == "photo" else images
    return Original(path, data, card, images, expected, tested.tolerance, known)
