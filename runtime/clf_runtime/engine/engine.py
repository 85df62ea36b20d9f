"""The seam between a model and what runs it: a batch goes in, scores come out, and nothing more is known of an engine.

onnxruntime is the one engine so far (ort.py). Another is a module beside it whose `open_engine` makes an Engine, and
the line in `open_engine` here that tells which of them a file is for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

RunSingle = Callable[[np.ndarray], list[float]]


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output of a model: its name, numpy's name of its dtype, and its shape.

    A dtype that numpy does not have is called as the engine calls it. A size of the shape that is not fixed is the name
    that the file gives it, or None.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


class Engine(Protocol):
    """A model that is open and ready to run; threads may share it.

    `provider` is what really runs it (an execution provider, in onnxruntime's words), `on_cpu` whether that is the
    processor, so that several threads which each run batches of their own gain by it. `notes` says what was decided
    when it was opened, in sentences for people. `metadata` is the text that the file carries beside the graph.
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
        """Do the same, and return every output, in the order of `outputs`."""
        ...

    def bind_single(self, size: int) -> RunSingle | None:
        """What runs one image a call faster than `run`, through buffers that stay bound; None if nothing does.

        It takes an image of the input's shape, with or without the axis of the batch, and returns its first output,
        `size` numbers. Every call has buffers to itself while it lasts: threads may share what is made, and a signal
        handler may call it in the middle of another call. It raises ModelError as `run` does, also where the output
        is of another size.
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

    `device` is `auto` (CUDA if it really answers, else the CPU), `cpu`, `cuda`, or any other execution provider of the
    installed onnxruntime, by its name with or without "ExecutionProvider", whatever its case. Only `auto` ever takes
    another than the one that was asked for, and the notes say so. `tf32` lets CUDA round the factors of products to 10
    bits, which is faster and less exact. `log` shows the engine's own log on stderr from a level on (one of
    ort_library.LOG_LEVELS). Not `optimised`, the graph runs as it stands in the file, operator by operator.

    Raises ModelError if the bytes are no model that the engine runs, or name what is not UTF-8; DeviceError if the
    device does not work or the log level is unknown; MissingExtraError without onnxruntime.
    """
    from clf_runtime.engine import ort

    return ort.open_engine(model, where, device=device, tf32=tf32, log=log, optimised=optimised)
