"""Tensors that only PyTorch can read: written before 1.6, or compressed afterwards.

Everything else about a folder of tensors is in the runtime.
"""

import warnings
from pathlib import Path

import numpy as np

from clf_runtime.datasets import tensors, torch_save
from clf_runtime.datasets.source import Memory
from clf_runtime.errors import brief
from clf_runtime.system import physical_memory
from clf_train.data import spill
from clf_train.data.dataset import Part, Parts
from clf_train.errors import DataError


def recognises(path: Path) -> bool:
    """Whether a folder of tensors has a file in another format than torch.save's now. Raises ImageError as `pairs`."""
    if not tensors.recognises(path):
        return False
    return not all(torch_save.is_stored(file) for pair in tensors.pairs(path) if pair for file in pair)


def read(path: Path) -> Parts:
    """Read the tensors, mapped if the runtime can read them, else as one copy. Raises DataError."""
    train, test = (Part(_load(pair[0]), _load(pair[1]), str(pair[0])) if pair else None for pair in tensors.pairs(path))
    if train is None:
        raise DataError(f"{path}: contains no training images")
    return Parts(tensors.LAYOUT, train, test)


def _load(path: Path) -> np.ndarray:
    if torch_save.is_stored(path):
        return torch_save.whole(torch_save.look_into(path), Memory(spill.empty, spill.SPILL_BYTES))
    import torch

    try:
        if path.stat().st_size > physical_memory():
            raise DataError(f"{path}: cannot be mapped and does not fit into memory; save it again with torch.save")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a sparse tensor, since 2.14, which is refused below
            value = torch.load(str(path), map_location="cpu", weights_only=True)
    except DataError:
        raise
    except OSError as error:
        if error.filename is None:  # torch seeks in a truncated file
            raise DataError(f"{path}: damaged or truncated: {error.strerror or error}") from None
        raise
    except Exception as error:  # torch.load raises UnpicklingError, RuntimeError, EOFError, KeyError, ...
        if "unsupported global" in " ".join(str(error).split()).lower():
            raise DataError(f"{path}: contains Python objects other than tensors, which are never loaded") from None
        raise DataError(f"{path}: not a tensor written with torch.save, or damaged: {brief(error, 120)}") from None
    if not isinstance(value, torch.Tensor):
        raise DataError(f"{path}: contains a {type(value).__name__}, expected one tensor")
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise DataError(f"{path}: a tensor of kind {value.layout} {value.dtype}; expected a dense one of real numbers")
    size = value.numel() * value.element_size()
    if size > max(path.stat().st_size, physical_memory()):
        raise DataError(f"{path}: claims {size:,} bytes in a file of {path.stat().st_size:,}")
    if value.dtype == torch.bfloat16:  # unknown to numpy
        wide = torch.from_numpy(spill.empty(tuple(value.shape), np.float32))
        value = wide.copy_(value.detach())
    try:
        return value.detach().resolve_neg().numpy()
    except (TypeError, RuntimeError):  # float8, a tensor without storage
        raise DataError(f"{path}: a tensor of kind {value.dtype} on {value.device}; expected plain numbers") from None
