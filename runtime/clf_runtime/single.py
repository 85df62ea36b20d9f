"""One image at a time, through buffers that stay bound to a session.

With onnxruntime's IOBinding (https://onnxruntime.ai/docs/api/python/api_summary.html#iobinding) nothing is looked up
and nothing but the answer is made anew for each image, which is a tenth of what a small model takes (docs/runtime.md).
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


def bind(session: Any, image_shape: tuple[int, ...], classes: int) -> Callable[[np.ndarray], list[float]]:
    """Make what runs a session of the CPU on one image, and gives its first output as `classes` numbers.

    The image is of `image_shape`, perhaps with an axis of one before it, in the dtype of the session's input. Threads
    have buffers of their own. What is made raises what onnxruntime raises, also where the output is of another shape.
    """
    node, output = session.get_inputs()[0], session.get_outputs()[0].name
    dtype, shape = _DTYPES[node.type], (1, *image_shape)
    run = session.run_with_iobinding
    local = threading.local()

    def bound() -> tuple[Any, np.ndarray, np.ndarray]:
        image, answer = np.zeros(shape, dtype), np.zeros((1, classes), np.float32)
        binding = session.io_binding()
        binding.bind_input(node.name, "cpu", 0, dtype, shape, image.ctypes.data)
        binding.bind_output(output, "cpu", 0, np.float32, answer.shape, answer.ctypes.data)
        local.bound = binding, image, answer[0]
        return local.bound  # type: ignore[no-any-return]

    def run_one(image: np.ndarray) -> list[float]:
        try:
            binding, buffer, answer = local.bound
        except AttributeError:
            binding, buffer, answer = bound()
        buffer[...] = image
        run(binding)
        row: list[float] = answer.tolist()
        return row

    return run_one
