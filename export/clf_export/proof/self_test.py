"""The self-test of a written file: that it passes, and how much damage to the weights it notices."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from clf_export.errors import ParityError
from clf_runtime.classifier import Classifier
from clf_runtime.errors import ModelError
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.model.card import ModelCard
from clf_runtime.model.integrity import CHECKSUM_KEY

_MOST_DAMAGES = 32


def prove_self_test(file: Path, card: ModelCard) -> tuple[tuple[str, ...], int]:
    """Run the self-test of a file, as a device will, and then on damaged copies of it.

    Returns the damages that it does not notice, and how many were tried. Raises ParityError if it does not pass, if it
    notices no damage at all, or if the card that it reads is not `card`.
    """
    classifier = Classifier.load(file, device="cpu")
    if classifier.card != card:
        raise ParityError("the card that is read from the file is not the one that was written, so there is no file")
    if card.golden is None:
        return (), 0
    result = self_test(classifier)
    if not result.passed:
        raise ParityError(f"the file does not pass its own self-test, so it is not written: {result.problem}")
    unnoticed, tried = unnoticed_damage(file.read_bytes())
    if tried and len(unnoticed) == tried:
        raise ParityError("the file's self-test does not notice damaged weights, so it is not written")
    return tuple(unnoticed), tried


def unnoticed_damage(data: bytes) -> tuple[list[str], int]:
    """Damage a file's weights one at a time, and return which its self-test does not notice, and how many there were.

    In each of up to 32 weight tensors the sign of the largest value is flipped, and a bit of its exponent.
    """
    missed, tried = [], 0
    for what, damaged in damages(data):
        tried += 1
        with contextlib.suppress(ModelError):  # what cannot even be loaded is noticed
            if self_test(Classifier(damaged, "the damaged model", device="cpu")).passed:
                missed.append(what)
    return missed, tried


def damages(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield copies of a model file, each with one damaged weight and no checksum, and what was damaged in it."""
    model = onnx.ModelProto.FromString(data)
    for entry in [entry for entry in model.metadata_props if entry.key == CHECKSUM_KEY]:
        model.metadata_props.remove(entry)
    weights = [t for t in model.graph.initializer if numpy_helper.to_array(t).dtype in _BITS]
    for tensor in weights[:: -(-len(weights) // (_MOST_DAMAGES // 2))]:
        whole = tensor.SerializeToString()
        values = numpy_helper.to_array(tensor)
        unsigned, bits = _BITS[values.dtype]
        largest = np.abs(values.astype(np.float64)).argmax()
        for name, bit in bits.items():
            changed = values.copy()
            changed.reshape(-1).view(unsigned)[largest] ^= unsigned(1 << bit)
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
            yield f"{tensor.name}, {name}", model.SerializeToString()
        tensor.ParseFromString(whole)


_BITS = {
    np.dtype(np.float32): (np.uint32, {"sign": 31, "exponent": 30}),
    np.dtype(np.float16): (np.uint16, {"sign": 15, "exponent": 14}),
    np.dtype(np.int8): (np.uint8, {"highest bit": 7}),
    np.dtype(np.uint8): (np.uint8, {"highest bit": 7}),
}
