"""Four tensors written with `torch.save`: train_data_2, train_labels_2, test_data_2, test_labels_2.

Also without the `_2`, and with `.pt` or `.pth` behind. The test pair may be absent.
"""

import zipfile
from pathlib import Path

import numpy as np

from clf_runtime.bounded import physical_memory
from clf_runtime.errors import brief
from clf_train.data import spill
from clf_train.data.dataset import Part, Parts
from clf_train.data.listing import refuse_extra
from clf_train.errors import DataError

_LAYOUT = "tensors of torch.save"
_SUFFIXES = ("_2", "", "_2.pt", ".pt", "_2.pth", ".pth")
_PIECE_BYTES = 1 << 20


def recognises(path: Path) -> bool:
    """Whether a folder holds a file named like the training images or labels."""
    return path.is_dir() and any(
        (path / f"train_{kind}{s}").is_file() for kind in ("data", "labels") for s in _SUFFIXES
    )


def read(path: Path) -> Parts:
    """Read the four tensors; the images stay mapped from their files where the format allows it."""
    suffixes = [s for s in _SUFFIXES if any((path / f"train_{kind}{s}").is_file() for kind in ("data", "labels"))]
    if len(suffixes) > 1:
        files = ", ".join(f"train_*{s}" for s in suffixes)
        raise DataError(f"{path}: several sets of tensors ({files}); keep one of them in the folder")
    suffix = suffixes[0]
    names = [f"{split}_{kind}{suffix}" for split in ("train", "test") for kind in ("data", "labels")]
    refuse_extra(path, names, "a folder of tensors")
    there = [(path / name).is_file() for name in names]
    has_test = any(there[2:])
    for name, is_there in list(zip(names, there, strict=True))[: 4 if has_test else 2]:
        if not is_there:
            raise DataError(f"{path / name}: missing from the folder of tensors")
    train = Part(_load(path / names[0]), _load(path / names[1]), str(path / names[0]))
    if not has_test:
        return Parts(_LAYOUT, train)
    return Parts(_LAYOUT, train, Part(_load(path / names[2]), _load(path / names[3]), str(path / names[2])))


def _load(path: Path) -> np.ndarray:
    """Load one tensor as an array over its memory: mapped from the file, or one copy if torch wrote it before 1.6."""
    import torch

    try:
        mapped = _is_stored_zip(path)
        if not mapped and path.stat().st_size > physical_memory():
            raise DataError(f"{path}: cannot be mapped and does not fit into memory; save it anew with torch.save")
        value = torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
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


def _is_stored_zip(path: Path) -> bool:
    """Whether this is a zip file whose members are not compressed, as torch.save writes it: only such can be mapped.

    Its members are held against their checksums, which torch.load never looks at. Raises zipfile's errors.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(info.compress_type != zipfile.ZIP_STORED for info in members):
            return False
        if sum(info.file_size for info in members) > path.stat().st_size:
            raise zipfile.BadZipFile("its members claim more than the file holds")
        for info in members:
            if info.CRC == 0:  # torch was told to compute none: torch.serialization.set_crc32_options(False)
                continue
            with archive.open(info) as stream:
                while stream.read(_PIECE_BYTES):
                    pass  # up to the end, where zipfile checks the checksum
    return True
