"""The second output of a model: its features while they are fitted, its familiarity when that is done."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from clf_export.proof.parity import at_once
from clf_runtime.engine.engine import open_engine


def second_output(model: bytes, images: np.ndarray, *, batch: int | None = None, optimised: bool = True) -> np.ndarray:
    """The second output of a model for images [N, C, H, W], `batch` or `at_once` at a time, by onnxruntime on the CPU.

    float32 [N, ...]. Without `optimised`, graph optimisations are off. Raises ModelError if the model cannot be run.
    """
    engine = open_engine(model, "the exported model", device="cpu", optimised=optimised)
    batch = batch or at_once(images.shape[1:])
    blocks = (np.ascontiguousarray(images[i : i + batch]) for i in range(0, len(images), batch))
    return np.concatenate([engine.run_all(block)[1] for block in blocks])


def named_outputs(model: onnx.ModelProto, names: Sequence[str], images: np.ndarray) -> list[np.ndarray]:
    """Some float32 tensors of a graph, [batch, ...] each, for images [N, C, H, W]: float32 [N, ...] each.

    Raises ModelError if the model cannot be run.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for name in names:
        made.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    engine = open_engine(made.SerializeToString(), "the exported model", device="cpu")
    batch = at_once(images.shape[1:])
    blocks = [engine.run_all(np.ascontiguousarray(images[i : i + batch])) for i in range(0, len(images), batch)]
    places = range(len(model.graph.output), len(made.graph.output))
    return [np.concatenate([block[place] for block in blocks]) for place in places]
