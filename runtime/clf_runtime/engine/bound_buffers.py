"""One image at a time, through buffers that stay bound to a session.

With onnxruntime's IOBinding (https://onnxruntime.ai/docs/api/python/api_summary.html#iobinding) nothing is looked up
and nothing but the answer is made anew for each image, which is a tenth of what a small model takes (docs/runtime.md).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


def bind(session: Any, image_shape: tuple[int, ...], classes: int) -> Callable[[np.ndarray], list[float]]:
    """Make what runs a session of the CPU on one image, and gives its first output as `classes` numbers.

    The image is of `image_shape`, perhaps with an axis of one before it, in the dtype of the session's input; the
    output is float32. Every call has buffers to itself while it lasts: threads may share what is made, and a signal
    handler may call it in the middle of another call. It raises what onnxruntime raises, also where the output is of
    another shape.
    """
    node, output = session.get_inputs()[0], session.get_outputs()[0].name
    dtype, shape = _DTYPES[node.type], (1, *image_shape)
    run = session.run_with_iobinding
    free: list[tuple[Any, np.ndarray, np.ndarray]] = []  # its pop and append are atomic

    def buffers() -> tuple[Any, np.ndarray, np.ndarray]:
        image, answer = np.zeros(shape, dtype), np.zeros((1, classes), np.float32)
        binding = session.io_binding()
        binding.bind_input(node.name, "cpu", 0, dtype, shape, image.ctypes.data)
        binding.bind_output(output, "cpu", 0, np.float32, answer.shape, answer.ctypes.data)
        return binding, image, answer[0]

    def run_one(image: np.ndarray) -> list[float]:
        try:
            mine = free.pop()
        except IndexError:
            mine = buffers()
        binding, buffer, answer = mine
        buffer[...] = image
        run(binding)
        row: list[float] = answer.tolist()
        free.append(mine)  # after an error they are dropped
        return row

    return run_one
