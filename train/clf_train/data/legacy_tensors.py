"""Tensors that only PyTorch reads: those that it wrote before 1.6, and those that were compressed afterwards.

All else about a folder of tensors is the runtime's.
"""

from pathlib import Path

import numpy as np

from clf_runtime.bounded import physical_memory
from clf_runtime.datasets import tensors, torch_save
from clf_runtime.datasets.source import Memory
from clf_runtime.errors import brief
from clf_train.data import spill
from clf_train.data.dataset import Part, Parts
from clf_train.errors import DataError


def recognises(path: Path) -> bool:
    """Whether a folder of tensors has a file that is not as torch.save writes it now. Raises ImageError as `pairs`."""
    if not tensors.recognises(path):
        return False
    return not all(torch_save.is_stored(file) for pair in tensors.pairs(path) if pair for file in pair)


def read(path: Path) -> Parts:
    """Read the tensors, those that the runtime can read mapped, each other as one copy. Raises DataError."""
    train, test = (Part(_load(pair[0]), _load(pair[1]), str(pair[0])) if pair else None for pair in tensors.pairs(path))
    if train is None:
        raise DataError(f"{path}: holds no training images")
    return Parts(tensors.LAYOUT, train, test)


def _load(path: Path) -> np.ndarray:
    if torch_save.is_stored(path):
        return torch_save.whole(torch_save.look_into(path), Memory(spill.empty, spill.SPILL_BYTES))
    import torch

    try:
        if path.stat().st_size > physical_memory():
            raise DataError(f"{path}: cannot be mapped and does not fit into memory; save it anew with torch.save")
        value = torch.load(str(path), map_location="cpu", weights_only=True)
    except DataError:
        raise
    except OSError as error:
        if error.filename is None:  # torch's own seeks in a file that was cut short
            raise DataError(f"{path}: damaged or cut short: {error.strerror or error}") from None
        raise
    except Exception as error:  # torch.load raises what it met: UnpicklingError, RuntimeError, EOFError, KeyError, ...
        if "unsupported global" in " ".join(str(error).split()).lower():
            raise DataError(f"{path}: holds Python objects other than tensors, which are never loaded") from None
        raise DataError(f"{path}: not a tensor written with torch.save, or damaged: {brief(error, 120)}") from None
    if not isinstance(value, torch.Tensor):
        raise DataError(f"{path}: holds a {type(value).__name__}, wanted one tensor")
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise DataError(f"{path}: a tensor of kind {value.layout} {value.dtype}; wanted a plain one of real numbers")
    size = value.numel() * value.element_size()
    if size > max(path.stat().st_size, physical_memory()):
        raise DataError(f"{path}: claims {size:,} bytes in a file of {path.stat().st_size:,}")
    if value.dtype == torch.bfloat16:  # numpy has none
        wide = torch.from_numpy(spill.empty(tuple(value.shape), np.float32))
        value = wide.copy_(value.detach())
    try:
        return value.detach().resolve_neg().numpy()
    except (TypeError, RuntimeError):  # float8, a tensor without memory
        raise DataError(f"{path}: a tensor of kind {value.dtype} on {value.device}; wanted plain numbers") from None
