"""The self-test of a written file: that it passes, and which corrupted weights it detects."""

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
    """Run the self-test of a file as a device will, and then on copies with one corrupted weight each.

    Returns the corruptions that the golden cases do not detect, and how many were tried. Raises ParityError if the
    self-test fails, if it detects no corruption at all, or if the card in the file is not `card`.
    """
    classifier = Classifier.load(file, device="cpu")
    if classifier.card != card:
        raise ParityError("the card read back from the file differs from the one written, so no file is written")
    if card.golden is None:
        return (), 0
    result = self_test(classifier)
    if not result.passed:
        raise ParityError(f"the file fails its own self-test, so no file is written: {result.problem}")
    unnoticed, tried = unnoticed_damage(file.read_bytes())
    if tried and len(unnoticed) == tried:
        raise ParityError("the file's self-test detects no corrupted weight, so no file is written")
    return tuple(unnoticed), tried


def unnoticed_damage(data: bytes) -> tuple[list[str], int]:
    """Corrupt a file's weights one at a time; return which corruptions its self-test does not detect, and their number.

    In each of up to 16 weight tensors two bits of the largest value are flipped in turn: the sign, and the highest bit
    of the exponent (of an integer, its highest bit).
    """
    missed, tried = [], 0
    for what, damaged in damages(data):
        tried += 1
        with contextlib.suppress(ModelError):  # a file that cannot even be loaded counts as detected
            if self_test(Classifier(damaged, "the damaged model", device="cpu")).passed:
                missed.append(what)
    return missed, tried


def damages(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield copies of a model file, without its checksum and with one flipped bit each, and what was flipped."""
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
