"""The interface between a model and the engine that runs it: a batch in, outputs out.

onnxruntime is the only engine so far (ort.py). Another one would be a module beside it whose `open_engine` makes an
Engine, and the line in `open_engine` here that chooses between them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

RunSingle = Callable[[np.ndarray], list[float]]


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output of a model: its name, its dtype by numpy's name, and its shape.

    A dtype that numpy lacks has the engine's name. A dynamic axis of the shape is given by its name in the file, or
    None.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


class Engine(Protocol):
    """A loaded model, ready to run; threads may share it.

    `provider` is what actually runs it (in onnxruntime an execution provider), `on_cpu` whether that is the CPU, so
    that several threads with their own batches are faster than one. `notes` says, in sentences, what was decided on
    opening. `metadata` is the file's metadata, key by key.
    """

    provider: str
    on_cpu: bool
    notes: tuple[str, ...]
    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
    metadata: Mapping[str, str]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Feed a batch [n, ...] to the one input, and return the first output: [n, ...].

        Raises ModelError with the engine's reason, in one line that names no file, if the model fails on it.
        """
        ...

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """The same, returning every output, in the order of `outputs`."""
        ...

    def bind_single(self, size: int, outputs: int = 1) -> RunSingle | None:
        """A function for single images that is faster than `run`, through bound buffers; None if there is none.

        It takes an image of the input's shape, with or without the batch axis, and returns its first output, `size`
        numbers, and with two `outputs` the one number of the second, [1], after them. Each call has its own buffers, so
        threads may share the function, and a signal handler may call it during another call. It raises ModelError as
        `run` does, also for an output of another size.
        """
        ...


def open_engine(
    model: bytes,
    where: str,
    *,
    device: str = "auto",
    tf32: bool = False,
    log: str | None = None,
    optimised: bool = True,
) -> Engine:
    """Open the bytes of an `.onnx` file; `where` names it in errors.

    `device` is `auto` (CUDA if it works, else the CPU), `cpu`, `cuda`, or any other execution provider of the installed
    onnxruntime, by its case-insensitive name with or without "ExecutionProvider". Only `auto` ever falls back, and the
    notes say so. `tf32` allows TF32 on CUDA: 10-bit mantissas, faster and less precise. `log` shows the engine's log on
    stderr from a level (one of ort_library.LOG_LEVELS). Without `optimised`, graph optimisations are off.

    Raises ModelError if the engine cannot run the model, or its names are not UTF-8; DeviceError if the device does not
    work or the log level is unknown; MissingExtraError without onnxruntime.
    """
    from clf_runtime.engine import ort

    return ort.open_engine(model, where, device=device, tf32=tf32, log=log, optimised=optimised)
