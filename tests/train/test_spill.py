"""Large arrays live in a temporary file without a name; sources larger than memory are read as small ones are."""

import errno
import io
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clf_train import Dataset, dataset, spill
from clf_train.dataset import Part, Parts, Split, assemble, split_off
from clf_train.errors import DataError
from clf_train.sources import read_source

COUNT, TEST_COUNT = 40, 10
SHAPE = (3, 8, 6)


def make_pixels(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """uint8 [count, 3, 8, 6]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def make_labels(count: int = COUNT) -> np.ndarray:
    return np.arange(count) % 2


def mapped_files(array: np.ndarray) -> set[str]:
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


def is_spilled(array: np.ndarray) -> bool:
    while isinstance(array.base, np.ndarray):
        array = array.base
    base = array.base.obj if isinstance(array.base, memoryview) else array.base
    return isinstance(base, mmap.mmap)


def peak_of(call: Callable[[], Any]) -> int:
    """The most bytes that numpy and Python held at once in a call; mapped files do not count."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc, as Linux has it")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of a test, in which arrays above 1,000 bytes are large."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(spill, "SPILL_BYTES", 1000)
    return place


# Arrays


@pytest.mark.parametrize(("shape", "dtype"), [((1000,), np.uint8), ((5, 50), np.float32), ((), ">i2"), ((0, 9), "u1")])
def test_a_small_array_is_a_plain_one(folder: Path, shape: tuple[int, ...], dtype: Any) -> None:
    array = spill.empty(shape, dtype)
    assert (array.shape, array.dtype, array.base) == (shape, np.dtype(dtype), None)


@needs_proc
@pytest.mark.parametrize(("shape", "dtype"), [((1001,), np.uint8), ((5, 51), np.float32), ((99, 3, 5, 7), np.int64)])
def test_a_large_array_is_a_mapped_file_without_a_name(folder: Path, shape: tuple[int, ...], dtype: type) -> None:
    array = spill.empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert not array.any()
    (file,) = mapped_files(array)
    assert file.startswith(str(folder))
    assert file.endswith("(deleted)")
    assert list(folder.iterdir()) == []
    wanted = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    array[:] = wanted
    np.testing.assert_array_equal(array, wanted)


@needs_proc
def test_nothing_is_left_of_a_process_that_is_killed(folder: Path) -> None:
    script = (
        "import os, signal, numpy as np; from clf_train import spill; spill.SPILL_BYTES = 1000\n"
        "array = spill.empty((1 << 20,), np.uint8); array[:] = 1; os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.run([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(folder)}, check=False)
    assert child.returncode == -signal.SIGKILL
    assert list(folder.iterdir()) == []


def test_a_disk_without_room_is_one_line_before_it_is_touched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_reserve", lambda *_: pytest.fail("the disk was touched"))
    with pytest.raises(
        DataError, match=r"temporary: no room for a temporary file of 1,152,921,504,606,846,976 by"
    ) as e:
        spill.empty((1 << 60,), np.uint8)
    assert "are free); set TMPDIR to a folder on a disk that has it" in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="is about posix_fallocate")
def test_a_disk_that_fills_up_meanwhile_is_one_line_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(DataError, match=r"no room for a temporary file of 2,000 bytes .*No space left on device"):
        spill.empty((2000,), np.uint8)
    assert list(folder.iterdir()) == []


def test_a_temporary_folder_that_is_not_there_is_one_line(folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(DataError, match=r"temporary: no room for .*No such file or directory"):
        spill.empty((2000,), np.uint8)


@needs_proc
@pytest.mark.parametrize("size", [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 7])
def test_the_bytes_of_the_file_are_reserved_on_the_disk(folder: Path, size: int) -> None:
    with tempfile.TemporaryFile() as file:
        spill._reserve(file, size)
        there = os.fstat(file.fileno())
    assert there.st_size == size
    assert there.st_blocks * 512 >= size


@pytest.mark.parametrize("number", [None, errno.EINVAL, errno.EOPNOTSUPP], ids=["absent", "EINVAL", "EOPNOTSUPP"])
@pytest.mark.parametrize("size", [2000, (2 << 20) + 7])
def test_where_bytes_cannot_be_reserved_zeros_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int | None, size: int
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(number, "cannot")

    if number is None:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with tempfile.TemporaryFile() as file:
        spill._reserve(file, size)
        file.seek(0)
        assert file.read() == bytes(size)
    assert is_spilled(spill.empty((size,), np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f8", np.int64], ids=str)
@pytest.mark.parametrize("order", ["first", "last", "Fortran", "reversed"])
def test_a_conversion_has_the_values_of_astype(folder: Path, dtype: Any, order: str) -> None:
    array = make_pixels().astype(dtype)
    array = {
        "first": array,
        "last": np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        "Fortran": np.asfortranarray(array),
        "reversed": array[::-1, :, ::-1],
    }[order]
    converted = spill.convert(array, np.float32)
    assert is_spilled(converted)
    assert converted.flags.c_contiguous
    np.testing.assert_array_equal(converted, array.astype(np.float32))


@pytest.mark.parametrize("piece", [1, 300, 1 << 20])
@pytest.mark.parametrize("order", ["first", "last"])
def test_rows_are_taken_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch, piece: int, order: str) -> None:
    monkeypatch.setattr(spill, "_PIECE_BYTES", piece)
    array = make_pixels() if order == "first" else make_pixels().reshape(COUNT, 8, 6, 3).transpose(0, 3, 1, 2)
    rows = np.array([0, 3, 4, 9, 10, 11, 12, 20, 38, 39])
    taken = spill.take(array, rows)
    assert is_spilled(taken)
    np.testing.assert_array_equal(taken, array[rows])
    assert spill.take(array, rows[:0]).shape == (0, *SHAPE)


# What needs no memory: peaks are of 24 MB of images


def make_large(order: str, dtype: type = np.float32) -> np.ndarray:
    array = np.ones((2000, 32, 32, 3) if order == "last" else (2000, 3, 32, 32), dtype)
    return array.transpose(0, 3, 1, 2) if order == "last" else array


@pytest.fixture
def small_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_PIECE_BYTES", 1 << 20)
    monkeypatch.setattr(dataset, "_CHUNK_BYTES", 1 << 20)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("order", ["first", "last"])
def test_holding_out_a_part_makes_no_copy_in_memory(order: str) -> None:
    split = Split(make_large(order), np.arange(2000) % 2)
    split_off(Split(split.images[:20], split.labels[:20]), 0.2, 0, "HERE")  # imports do not count
    assert peak_of(lambda: split_off(split, 0.2, 0, "HERE")) < 4 << 20


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("dtype", [np.float64, np.float16, ">f4", np.int64, np.int16], ids=str)
@pytest.mark.parametrize("order", ["first", "last"])
def test_neither_conversion_nor_scan_makes_a_copy_in_memory(order: str, dtype: Any) -> None:
    part = Part(make_large(order, dtype), np.arange(2000) % 2, "HERE")
    assert peak_of(lambda: assemble("s", Parts("layout", part, part))) < 8 << 20


def test_the_scan_of_a_few_huge_images_is_bounded_too() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 1500, 1500), dtype=np.uint8)
    part = Part(images, np.arange(4) % 2, "HERE")
    made: list[Dataset] = []
    assert peak_of(lambda: made.append(assemble("s", Parts("layout", part, part)))) < 16 << 20
    np.testing.assert_allclose(made[0].mean, images.mean(axis=(0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(made[0].std, images.std(axis=(0, 2, 3)), rtol=1e-9)


# Sources


def save_tensors(place: Path, convert: Callable[[torch.Tensor], torch.Tensor], has_test: bool) -> Path:
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
    "tensors uint8": lambda p, t: save_tensors(p, lambda x: x, t),
    "tensors float32": lambda p, t: save_tensors(p, lambda x: x.float() / 255, t),
    "tensors float32 N x H x W x C": lambda p, t: save_tensors(
        p, lambda x: (x.float() / 255).permute(0, 2, 3, 1).contiguous(), t
    ),
    "tensors float64": lambda p, t: save_tensors(p, lambda x: x.double() / 255, t),
    "tensors bfloat16": lambda p, t: save_tensors(p, lambda x: (x.float() / 255).bfloat16(), t),
    "tensors bfloat16 channels last": lambda p, t: save_tensors(
        p, lambda x: (x.float() / 255).bfloat16().to(memory_format=torch.channels_last), t
    ),
    "tensors int64": lambda p, t: save_tensors(p, lambda x: x.long(), t),
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
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, layout: str, has_test: bool
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
    assert list(folder.iterdir()) == []


def test_the_unaligned_layout_of_these_tests_is_unaligned(tmp_path: Path) -> None:
    save_unaligned(tmp_path / "set.npz", images=make_pixels(), labels=make_labels())
    data = (tmp_path / "set.npz").read_bytes()
    assert data.index(make_pixels().tobytes()) % 4 == 1


@needs_proc
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_large_array_that_is_not_compressed_is_mapped_from_the_archive(
    tmp_path: Path, folder: Path, dtype: type
) -> None:
    read = read_source(save_npz(tmp_path / "set", np.savez, lambda x: x.astype(dtype), True))
    assert mapped_files(read.train.images) == {str(tmp_path / "set" / "train.npz")}
    assert mapped_files(read.test.images) == {str(tmp_path / "set" / "test.npz")}
    assert not read.train.images.flags.writeable
    np.testing.assert_array_equal(read.train.images, make_pixels())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_a_changed_byte_of_a_large_array_is_told_by_the_checksum(tmp_path: Path, save: Callable[..., None]) -> None:
    file = tmp_path / "set.npz"
    save(file, images=make_pixels(), labels=make_labels())
    data = bytearray(file.read_bytes())
    data[2000] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"set.npz: not an .npz archive, or damaged: "):
        read_source(file)


def change_archive(file: Path, **changes: int) -> None:
    """Change what the central directory of a zip says of images.npy."""
    with zipfile.ZipFile(file, "a") as archive:
        for key, value in changes.items():
            setattr(archive.getinfo("images.npy"), key, value)
        archive._didModify = True  # type: ignore[attr-defined]


@pytest.mark.usefixtures("folder")
def test_a_compressed_array_that_ends_early_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, make_pixels())
    data = stream.getvalue()
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", data[:-1000])
        archive.writestr("labels.npy", np.ones(1).tobytes())
    change_archive(tmp_path / "set.npz", file_size=len(data))
    with pytest.raises(DataError, match=r"images.npy: damaged or cut short"):
        read_source(tmp_path / "set.npz")


@pytest.mark.usefixtures("folder")
def test_a_compressed_array_larger_than_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "set.npz", images=make_pixels(), labels=make_labels())
    free = shutil.disk_usage(tmp_path)._replace(free=2000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"no room for a temporary file of 5,760 bytes for images \(2,000 are free\)"):
        read_source(tmp_path / "set.npz")
