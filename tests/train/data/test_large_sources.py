"""Sources that are larger than memory are mapped, and read as small ones are."""

import io
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clf_train.data import spill
from clf_train.data.sources import read_source
from clf_train.errors import DataError

COUNT, TEST_COUNT = 40, 10
SHAPE = (3, 8, 6)


def make_pixels(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """uint8 [count, 3, 8, 6]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def make_labels(count: int = COUNT) -> np.ndarray:
    return np.arange(count) % 2


needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc, as Linux has it")


def save_tensor_files(place: Path, convert: Callable[[torch.Tensor], torch.Tensor], has_test: bool) -> Path:
    place.mkdir()
    for name, count in (("train", COUNT), ("test", TEST_COUNT))[: 1 + has_test]:
        torch.save(convert(torch.from_numpy(make_pixels(count))), place / f"{name}_data_2")
        torch.save(torch.from_numpy(make_labels(count)), place / f"{name}_labels_2")
    return place


def save_npz(place: Path, save: Callable[..., None], convert: Callable[[np.ndarray], Any], has_test: bool) -> Path:
    place.mkdir()
    for name, count in (("train", COUNT), ("test", TEST_COUNT))[: 1 + has_test]:
        save(place / f"{name}.npz", images=convert(make_pixels(count)), labels=make_labels(count))
    return place


def save_unaligned(file: Path, **arrays: np.ndarray) -> None:
    """Write an .npz whose arrays begin at odd places of the file."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array)
            info = zipfile.ZipInfo(f"{name}.npy")
            assert archive.fp is not None
            gap = (1 - archive.fp.tell() - 30 - len(info.filename) - 4) % 4
            info.extra = struct.pack("<HH", 0xCAFE, gap) + bytes(gap)
            archive.writestr(info, stream.getvalue())


def save_pictures(place: Path, has_test: bool) -> Path:
    for name, count in (("train", COUNT), ("test", TEST_COUNT))[: 1 + has_test]:
        for i, (image, label) in enumerate(zip(make_pixels(count), make_labels(count), strict=True)):
            file = place / name / "ab"[label] / f"{i:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)
    return place


def channels_last(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


LAYOUTS: dict[str, Callable[[Path, bool], Path]] = {
    "tensors uint8": lambda p, t: save_tensor_files(p, lambda x: x, t),
    "tensors float32": lambda p, t: save_tensor_files(p, lambda x: x.float() / 255, t),
    "tensors float32 N x H x W x C": lambda p, t: save_tensor_files(
        p, lambda x: (x.float() / 255).permute(0, 2, 3, 1).contiguous(), t
    ),
    "tensors float64": lambda p, t: save_tensor_files(p, lambda x: x.double() / 255, t),
    "tensors bfloat16": lambda p, t: save_tensor_files(p, lambda x: (x.float() / 255).bfloat16(), t),
    "tensors bfloat16 channels last": lambda p, t: save_tensor_files(
        p, lambda x: (x.float() / 255).bfloat16().to(memory_format=torch.channels_last), t
    ),
    "tensors int64": lambda p, t: save_tensor_files(p, lambda x: x.long(), t),
    "npz uint8": lambda p, t: save_npz(p, np.savez, lambda x: x, t),
    "npz float32": lambda p, t: save_npz(p, np.savez, lambda x: (x / 255).astype("f4"), t),
    "npz float32 unaligned": lambda p, t: save_npz(p, save_unaligned, lambda x: (x / 255).astype("f4"), t),
    "npz big-endian": lambda p, t: save_npz(p, np.savez, lambda x: (x / 255).astype(">f4"), t),
    "npz float64 N x H x W x C": lambda p, t: save_npz(p, np.savez, lambda x: channels_last(x) / 255, t),
    "npz Fortran": lambda p, t: save_npz(p, np.savez, np.asfortranarray, t),
    "npz compressed": lambda p, t: save_npz(p, np.savez_compressed, lambda x: (x / 255).astype("f4"), t),
    "npz compressed Fortran": lambda p, t: save_npz(p, np.savez_compressed, np.asfortranarray, t),
    "npz compressed int64": lambda p, t: save_npz(p, np.savez_compressed, lambda x: x.astype("i8"), t),
    "pictures": save_pictures,
}


@needs_proc
@pytest.mark.parametrize("has_test", [True, False], ids=["test part", "held out"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_large_source_is_mapped_and_is_what_a_small_one_is(
    tmp_path: Path,
    mapped_files: Callable[[np.ndarray], set[str]],
    spill_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    has_test: bool,
) -> None:
    place = LAYOUTS[layout](tmp_path / "set", has_test)
    large = read_source(place)
    monkeypatch.setattr(spill, "SPILL_BYTES", 1 << 40)
    small = read_source(place)
    assert large.fingerprint == small.fingerprint
    for part in ("train", "test"):
        images, wanted = getattr(large, part).images, getattr(small, part).images
        assert images.dtype == wanted.dtype
        assert images.flags.aligned
        np.testing.assert_array_equal(images, wanted)
        np.testing.assert_array_equal(getattr(large, part).labels, getattr(small, part).labels)
        assert len(mapped_files(images)) == 1
    assert (large.mean, large.std, large.value_range) == (small.mean, small.std, small.value_range)
    assert list(spill_folder.iterdir()) == []


def test_the_unaligned_layout_of_these_tests_is_unaligned(tmp_path: Path) -> None:
    save_unaligned(tmp_path / "set.npz", images=make_pixels(), labels=make_labels())
    data = (tmp_path / "set.npz").read_bytes()
    assert data.index(make_pixels().tobytes()) % 4 == 1


@needs_proc
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_large_array_that_is_not_compressed_is_mapped_from_the_archive(
    tmp_path: Path, mapped_files: Callable[[np.ndarray], set[str]], spill_folder: Path, dtype: type
) -> None:
    read = read_source(save_npz(tmp_path / "set", np.savez, lambda x: x.astype(dtype), True))
    assert mapped_files(read.train.images) == {str(tmp_path / "set" / "train.npz")}
    assert mapped_files(read.test.images) == {str(tmp_path / "set" / "test.npz")}
    assert not read.train.images.flags.writeable
    np.testing.assert_array_equal(read.train.images, make_pixels())


@pytest.mark.usefixtures("spill_folder")
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_a_changed_byte_of_a_large_array_is_told_by_the_checksum(tmp_path: Path, save: Callable[..., None]) -> None:
    file = tmp_path / "set.npz"
    save(file, images=make_pixels(), labels=make_labels())
    data = bytearray(file.read_bytes())
    data[2000] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"set.npz, array images: not an .npz archive, or damaged: "):
        read_source(file)


def change_archive(file: Path, **changes: int) -> None:
    """Change what the central directory of a zip says of images.npy."""
    with zipfile.ZipFile(file, "a") as archive:
        for key, value in changes.items():
            setattr(archive.getinfo("images.npy"), key, value)
        archive._didModify = True  # type: ignore[attr-defined]


@pytest.mark.usefixtures("spill_folder")
def test_a_compressed_array_that_ends_early_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, make_pixels())
    data = stream.getvalue()
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", data[:-1000])
        archive.writestr("labels.npy", np.ones(1).tobytes())
    change_archive(tmp_path / "set.npz", file_size=len(data))
    with pytest.raises(DataError, match=r"array images: damaged or truncated"):
        read_source(tmp_path / "set.npz")


@pytest.mark.usefixtures("spill_folder")
def test_a_compressed_array_larger_than_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=make_pixels(), labels=make_labels())
    free = shutil.disk_usage(tmp_path)._replace(free=2000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"no room for a temporary file of 5,760 bytes for images \(2,000 are free\)"):
        read_source(tmp_path / "set.npz")
