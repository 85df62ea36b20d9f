"""Exact computation on CUDA: float32 in full, and the same result to the last bit each time on the same card.

By default cuDNN multiplies float32 as TF32, with 10-bit mantissas, and libraries choose algorithms whose sums depend on
the order in which threads finish (https://docs.pytorch.org/docs/stable/notes/randomness.html). A net trained so
would neither resume bit-identically nor give the scores of its probe on another processor.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

_WORKSPACE = ":4096:8"  # of cuBLAS, with which it is deterministic; read when it is first used


@contextmanager
def exact(device: str) -> Iterator[None]:
    """While the block runs, compute on `device` (cpu or cuda) exactly; the CPU does so without settings.

    An operation that has no deterministic implementation on CUDA, which the nets of clf-edge do not use, runs with
    PyTorch's warning. The settings are the process's, and are restored afterwards.
    """
    if device != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    algorithms = (cudnn.deterministic, cudnn.benchmark)
    strict = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    places: tuple[Any, ...] = (cudnn.conv, cudnn.rnn, matmul)  # type: ignore[attr-defined]
    precisions = [place.fp32_precision for place in places]
    try:
        with _old_names():  # so that whoever reads these gets an answer
            for place in places:
                place.fp32_precision = "ieee"
            cudnn.deterministic, cudnn.benchmark = True, False
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
    finally:
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        cudnn.deterministic, cudnn.benchmark = algorithms
        for place, precision in zip(places, precisions, strict=True):  # last: the older names set these too
            place.fp32_precision = precision


@contextmanager
def _old_names() -> Iterator[None]:
    """Turn TF32 off under PyTorch's older names too, unless the process has used the newer ones, which exclude them."""
    cudnn = torch.backends.cudnn
    before: tuple[bool, str] | None = None
    with suppress(RuntimeError):
        before = (cudnn.allow_tf32, torch.get_float32_matmul_precision())
    if before is not None:
        cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if before is not None:
            cudnn.allow_tf32 = before[0]
            torch.set_float32_matmul_precision(before[1])
