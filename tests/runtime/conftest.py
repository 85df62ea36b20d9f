"""What several tests of the runtime need: a tiny model with golden cases."""

import dataclasses

import numpy as np
import pytest

from clf_runtime import Classifier, ModelCard
from clf_runtime.model.records import Golden

NAMES = ("red", "green", "blue")


@pytest.fixture
def golden_model(tiny_model):
    """A model with golden cases, one a colour; `change` changes what they say."""

    def make(change=lambda golden: golden, dtype="uint8", layout="NCHW"):
        high = 255 if dtype == "uint8" else 1
        images = np.zeros((3, 3, 8, 8), dtype)
        images[np.arange(3), np.arange(3)] = high
        if layout == "NHWC":
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        card = ModelCard("tiny", NAMES, (3, 8, 8), dtype, (0.0, float(high)), layout=layout)
        answers = Classifier(tiny_model(dtype=dtype, layout=layout), "tiny").probabilities(images)
        rows = tuple(map(tuple, answers.tolist()))
        golden = Golden(images.tobytes(), rows, 1e-4, "CPUExecutionProvider", 1e-7)
        card = dataclasses.replace(card, golden=change(golden))
        return tiny_model(dtype=dtype, layout=layout, card=card)

    return make
