"""Large arrays live in a temporary file without a name, and what is done with them needs no memory."""

import errno
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clf_train import Dataset
from clf_train.data import spill, statistics
from clf_train.data.assembly import assemble
from clf_train.data.dataset import Part, Parts, Split
from clf_train.data.splitting import split_off
from clf_train.errors import DataError

COUNT = 40
SHAPE = (3, 8, 6)


def make_pixels(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """uint8 [count, 3, 8, 6]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


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


@pytest.mark.parametrize(("shape", "dtype"), [((1000,), np.uint8), ((5, 50), np.float32), ((), ">i2"), ((0, 9), "u1")])
def test_a_small_array_is_a_plain_one(spill_folder: Path, shape: tuple[int, ...], dtype: Any) -> None:
    array = spill.empty(shape, dtype)
    assert (array.shape, array.dtype, array.base) == (shape, np.dtype(dtype), None)


@needs_proc
@pytest.mark.parametrize(("shape", "dtype"), [((1001,), np.uint8), ((5, 51), np.float32), ((99, 3, 5, 7), np.int64)])
def test_a_large_array_is_a_mapped_file_without_a_name(
    mapped_files: Callable[[np.ndarray], set[str]], spill_folder: Path, shape: tuple[int, ...], dtype: type
) -> None:
    array = spill.empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert not array.any()
    (file,) = mapped_files(array)
    assert file.startswith(str(spill_folder))
    assert file.endswith("(deleted)")
    assert list(spill_folder.iterdir()) == []
    wanted = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    array[:] = wanted
    np.testing.assert_array_equal(array, wanted)


@needs_proc
def test_nothing_is_left_of_a_process_that_is_killed(spill_folder: Path) -> None:
    script = (
        "import os, signal, numpy as np; from clf_train.data import spill; spill.SPILL_BYTES = 1000\n"
        "array = spill.empty((1 << 20,), np.uint8); array[:] = 1; os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.run([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(spill_folder)}, check=False)
    assert child.returncode == -signal.SIGKILL
    assert list(spill_folder.iterdir()) == []


def test_a_disk_without_room_is_one_line_before_it_is_touched(
    spill_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "_reserve", lambda *_: pytest.fail("the disk was touched"))
    with pytest.raises(
        DataError, match=r"temporary: no room for a temporary file of 1,152,921,504,606,846,976 by"
    ) as e:
        spill.empty((1 << 60,), np.uint8)
    assert "are free); set TMPDIR to a folder on a disk that has it" in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="is about posix_fallocate")
def test_a_disk_that_fills_up_meanwhile_is_one_line_too(spill_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(DataError, match=r"no room for a temporary file of 2,000 bytes .*No space left on device"):
        spill.empty((2000,), np.uint8)
    assert list(spill_folder.iterdir()) == []


def test_a_temporary_folder_that_is_not_there_is_one_line(spill_folder: Path) -> None:
    spill_folder.rmdir()
    with pytest.raises(DataError, match=r"temporary: no room for .*No such file or directory"):
        spill.empty((2000,), np.uint8)


@needs_proc
@pytest.mark.parametrize("size", [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 7])
def test_the_bytes_of_the_file_are_reserved_on_the_disk(spill_folder: Path, size: int) -> None:
    with tempfile.TemporaryFile() as file:
        spill._reserve(file, size)
        there = os.fstat(file.fileno())
    assert there.st_size == size
    assert there.st_blocks * 512 >= size


@pytest.mark.parametrize("number", [None, errno.EINVAL, errno.EOPNOTSUPP], ids=["absent", "EINVAL", "EOPNOTSUPP"])
@pytest.mark.parametrize("size", [2000, (2 << 20) + 7])
def test_where_bytes_cannot_be_reserved_zeros_are_written(
    spill_folder: Path, monkeypatch: pytest.MonkeyPatch, number: int | None, size: int
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
def test_a_conversion_has_the_values_of_astype(spill_folder: Path, dtype: Any, order: str) -> None:
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
def test_rows_are_taken_in_their_order(
    spill_folder: Path, monkeypatch: pytest.MonkeyPatch, piece: int, order: str
) -> None:
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
def small_steps(spill_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_PIECE_BYTES", 1 << 20)
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", 1 << 20)


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
