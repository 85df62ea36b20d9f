"""A model file that states its own CRC-32 is refused once it is damaged; one that states none is taken."""

import numpy as np
import onnx
import pytest

from clf_runtime import Classifier, ModelError
from clf_runtime.model.integrity import CHECKSUM_KEY, UNSEALED, refuse_damaged, seal


@pytest.fixture
def sealed(tiny_model):
    return seal(tiny_model(metadata={CHECKSUM_KEY: UNSEALED}))


def test_a_sealed_file_is_taken(sealed):
    refuse_damaged(sealed, "file")
    assert Classifier(sealed, "file").predict(np.zeros((3, 8, 8), np.uint8)).probability > 0
    assert seal(sealed) == sealed


def test_any_flipped_bit_is_refused(sealed):
    start = sealed.rfind(CHECKSUM_KEY.encode())
    for i in range(len(sealed)):
        if not start <= i < start + len(CHECKSUM_KEY):  # no key, no checksum: but then nothing else is damaged
            damaged = sealed[:i] + bytes([sealed[i] ^ 1 << i % 8]) + sealed[i + 1 :]
            with pytest.raises(ModelError, match="file: damaged, or modified after its export"):
                refuse_damaged(damaged, "file")
    with pytest.raises(ModelError, match="damaged"):
        Classifier(sealed[:-3], "file")


def test_a_file_that_another_tool_wrote_anew_is_refused(sealed):
    model = onnx.ModelProto.FromString(sealed)
    model.producer_name = "another tool"
    with pytest.raises(ModelError, match="modified after its export"):
        refuse_damaged(model.SerializeToString(), "file")
    next(p for p in model.metadata_props if p.key == CHECKSUM_KEY).value = "none"
    with pytest.raises(ModelError, match="modified after its export"):
        refuse_damaged(model.SerializeToString(), "file")


def test_a_file_without_a_checksum_is_taken(tiny_model):
    refuse_damaged(tiny_model(), "file")
    refuse_damaged(b"", "file")
