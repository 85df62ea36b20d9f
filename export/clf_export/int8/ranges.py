"""What values the tensors of a net take on training images, and the range of each that 8 bits are to cover.

The float net runs once over the images, in batches, with every wanted tensor as an output, in one thread and in memory;
onnxruntime's own collectors keep histograms of it, so memory does not grow with the number of images.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import onnx
from onnx import TensorProto, helper

from clf_runtime.engine.engine import open_engine
from clf_runtime.engine.ort_library import import_onnxruntime

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
Ranges = dict[str, tuple[float, float]]
PERCENTILE = 99.99  # of all values; half of the rest is cut off at either end
_BINS: dict[Method, int] = {"percentile": 2048, "entropy": 512}
_LEVELS = 128  # that entropy reduces a histogram to, as TensorRT and onnxruntime do
_BATCH = 64


def find_ranges(model: onnx.ModelProto, tensors: Sequence[str], images: np.ndarray) -> dict[Method, Ranges]:
    """The lowest and highest value to be told apart in each of some tensors, as each method sees it.

    `model` has one input, which takes batches of `images`, uint8 or float32 [N, C, H, W]; `tensors` are float32.
    `minmax` covers all values; `percentile` all but 0.01 % of them; `entropy` cuts where the histogram loses least
    information (Migacz, 2017, 8-bit Inference with TensorRT,
    https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf). Every range
    contains 0. Raises ModelError if the model does not run, ValueError if a value is not finite.
    """
    import_onnxruntime()
    from onnxruntime.quantization.calibrate import HistogramCollector

    collectors = {
        method: HistogramCollector(
            method=method,
            symmetric=False,
            num_bins=bins,
            num_quantized_bins=_LEVELS,
            percentile=PERCENTILE,
            scenario="same",
        )
        for method, bins in _BINS.items()
    }
    engine = open_engine(_watched(model, tensors).SerializeToString(), "the float model", device="cpu")
    outputs = [output.name for output in engine.outputs]
    lowest, highest = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # the collectors print
        for first in range(0, len(images), _BATCH):
            values = engine.run_all(np.ascontiguousarray(images[first : first + _BATCH]))
            by_name = dict(zip(outputs, values, strict=True))
            seen = {tensor: by_name[tensor] for tensor in tensors}
            for tensor, array in seen.items():
                low, high = float(array.min()), float(array.max())
                if not (np.isfinite(low) and np.isfinite(high)):
                    raise ValueError(f"the tensor {tensor} holds NaN or infinity")
                lowest[tensor], highest[tensor] = min(lowest[tensor], low), max(highest[tensor], high)
            for collector in collectors.values():
                collector.collect(seen)
        found = {method: collector.compute_collection_result() for method, collector in collectors.items()}
    ranges: dict[Method, Ranges] = {"minmax": {t: (lowest[t], highest[t]) for t in tensors}}
    for method, of in found.items():
        bounds = {t: (min(float(of[t][0]), 0.0), max(float(of[t][1]), 0.0)) for t in tensors}
        ranges[method] = {t: (max(low, lowest[t]), min(high, highest[t])) for t, (low, high) in bounds.items()}
    return ranges


def _watched(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy of a model that has these tensors as further outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    outputs = {output.name for output in copy.graph.output}
    copy.graph.output.extend(
        helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None) for tensor in tensors if tensor not in outputs
    )
    return copy
