"""What several test modules of the training need: small sources, written in the ways that people write them."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clf_train import spill


def _pixels(count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count, 3, 8, 6]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 6), dtype=np.uint8)


def _save_tensors(folder: Path, suffix: str = "_2", legacy: bool = False, **changes: Any) -> Path:
    """Write four good tensors, with `changes` to their values; a change to None leaves the file out.

    They are 12 and 6 images of 3x8x6, classes 0, 1, 2 in turn.
    """
    values = {
        "train_data": torch.from_numpy(_pixels(12)),
        "train_labels": torch.arange(12) % 3,
        "test_data": torch.from_numpy(_pixels(6, seed=1)),
        "test_labels": torch.arange(6) % 3,
    }
    folder.mkdir(exist_ok=True)
    for name, value in (values | changes).items():
        if value is not None:
            torch.save(value, folder / f"{name}{suffix}", _use_new_zipfile_serialization=not legacy)
    return folder


@pytest.fixture
def save_tensors() -> Callable[..., Path]:
    return _save_tensors


@pytest.fixture
def write_pictures() -> Callable[..., Path]:
    def write(root: Path, *names: str, content: bytes | None = None) -> Path:
        """Write pictures of 6x8 pixels, each of another noise, under `root`; or `content` under each name."""
        for seed, name in enumerate(names):
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                pixels = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(file, "PNG")
            else:
                file.write_bytes(content)
        return root

    return write


def _mapped_files(array: np.ndarray) -> set[str]:
    """The files that the memory of an array is mapped from."""
    low = array.ctypes.data
    high = low + sum((n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)) + array.itemsize
    files = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, _, *file = line.split(maxsplit=5)
        first, end = (int(address, 16) for address in span.split("-"))
        if first < high and low < end and file and file[0].startswith("/"):
            files.add(file[0])
    return files


@pytest.fixture
def mapped_files() -> Callable[[np.ndarray], set[str]]:
    return _mapped_files


@pytest.fixture
def spill_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of a test, in which arrays above 1,000 bytes are large."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(spill, "SPILL_BYTES", 1000)
    return place
