"""What several test modules of the training need: small sources, written in the ways that people write them."""

import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processes import Started, start
from small_arrays import make_images

from clf_train import Dataset
from clf_train.data import spill
from clf_train.data.dataset import Part, Parts


@pytest.fixture(scope="session")
def start_training(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Started]:
    """Start `clf-train ARGUMENTS` in a process of its own, in the folder `cwd`, with variables of its environment."""

    def begin(*arguments: object, cwd: Path, **environment: str) -> Started:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")  # of all of them, by the process that they are forked from
            return start(arguments, cwd, environment, tmp_path_factory.mktemp("printed"))

    begin("--version", cwd=tmp_path_factory.mktemp("first")).ended()  # what is timed forks from one that is there
    return begin


def _save_tensors(folder: Path, suffix: str = "_2", legacy: bool = False, **changes: Any) -> Path:
    """Write four good tensors, with `changes` to their values; a change to None leaves the file out.

    They are 12 and 6 images of 3x8x6, classes 0, 1, 2 in turn.
    """
    values = {
        "train_data": torch.from_numpy(make_images(12)),
        "train_labels": torch.arange(12) % 3,
        "test_data": torch.from_numpy(make_images(6, seed=1)),
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
def good_parts() -> Callable[..., Parts]:
    def parts(
        images: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        test: tuple[np.ndarray, np.ndarray] | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Parts:
        """Good parts with changes: 12 images of 3x8x6, classes 0, 1, 2; the test part is the first six, as a view."""
        images = make_images(12) if images is None else images
        labels = np.arange(len(images)) % 3 if labels is None else labels
        test_images, test_labels = (images[:6], np.arange(6) % 3) if test is None else test
        return Parts("layout", Part(images, labels, "TRAIN"), Part(test_images, test_labels, "TEST"), names)

    return parts


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


# One small set in every layout. Classes are named a, b, c where a layout holds names; a test part equals the training
# part.

_IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)  # a size that every layout can hold
_LABELS = np.arange(6) % 3


def _write_tensors(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for split in ("train", "test"):
        torch.save(torch.from_numpy(_IMAGES), folder / f"{split}_data_2")
        torch.save(torch.from_numpy(_LABELS), folder / f"{split}_labels_2")
    return folder


def _write_npz_file(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "set.npz", images=_IMAGES, labels=_LABELS, names=np.array(["a", "b", "c"]))
    return folder / "set.npz"


def _write_npz_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for split in ("train", "test"):
        np.savez(folder / f"{split}.npz", images=_IMAGES, labels=_LABELS, names=np.array(["a", "b", "c"]))
    return folder


def _write_cifar10_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    batch = b"".join(bytes([i % 3]) + image.tobytes() for i, image in enumerate(_IMAGES))
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / f"{name}.bin").write_bytes(batch)
    (folder / "batches.meta.txt").write_text("a\nb\nc\n")
    return folder


def _write_cifar10_archive(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    inner = _write_cifar10_folder(folder / "cifar-10-batches-bin")
    with tarfile.open(folder / "set.tar.gz", "w:gz") as archive:
        archive.add(inner, inner.name)
    return folder / "set.tar.gz"


def _write_picture_folders(folder: Path) -> Path:
    """Class folders a, b and c under train/ and test/."""
    for i, (image, label) in enumerate(zip(_IMAGES, _LABELS, strict=True)):
        for split in ("train", "test"):
            file = folder / split / "abc"[label] / f"{i:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)
    return folder


def _write_class_folders(folder: Path) -> Path:
    return _write_picture_folders(folder) / "train"


_WRITERS: dict[str, Callable[[Path], Path]] = {
    "tensors": _write_tensors,
    "npz file": _write_npz_file,
    "npz folder": _write_npz_folder,
    "cifar10 folder": _write_cifar10_folder,
    "cifar10 archive": _write_cifar10_archive,
    "train and test folders": _write_picture_folders,
    "class folders": _write_class_folders,
}


@pytest.fixture
def write_source() -> Callable[[str, Path], Path]:
    """Write that set in a layout, by its name above, into a folder; returns the source."""
    return lambda kind, folder: _WRITERS[kind](folder)


@pytest.fixture
def cifar10_batches() -> dict[str, tuple[np.ndarray, list[int]]]:
    """A small CIFAR-10: six batches by name, each of rows of 3,072 bytes, as the archives hold them, and labels."""
    batches = {}
    for number, name in enumerate((*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")):
        rows = np.random.default_rng(number).integers(0, 256, (6, 3072), dtype=np.uint8)
        batches[name] = (rows, [(number + i) % 3 for i in range(6)])
    return batches


@pytest.fixture
def cifar10_binary(cifar10_batches: dict[str, tuple[np.ndarray, list[int]]]) -> dict[str, bytes]:
    """The files of its binary version."""
    files = {}
    for name, (rows, labels) in cifar10_batches.items():
        files[f"{name}.bin"] = b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, rows, strict=True))
    return files | {"batches.meta.txt": b"airplane\nautomobile\nbird\n\n"}


@pytest.fixture
def check_cifar10(cifar10_batches: dict[str, tuple[np.ndarray, list[int]]]) -> Callable[[Dataset, str], None]:
    def check(read: Dataset, version: str) -> None:
        """Hold what was read against the batches."""
        assert read.layout == f"CIFAR-10, {version} version"
        assert read.names == ("airplane", "automobile", "bird")
        assert read.notes == ()
        assert (read.dtype, read.image_shape) == ("uint8", (3, 32, 32))
        *train, (test_rows, test_labels) = cifar10_batches.values()
        np.testing.assert_array_equal(
            read.train.images, np.concatenate([rows for rows, _ in train]).reshape(-1, 3, 32, 32)
        )
        np.testing.assert_array_equal(read.train.labels, np.concatenate([labels for _, labels in train]))
        np.testing.assert_array_equal(read.test.images, test_rows.reshape(-1, 3, 32, 32))
        np.testing.assert_array_equal(read.test.labels, test_labels)

    return check


@pytest.fixture
def pack_cifar10() -> Callable[..., Path]:
    def pack(
        file: Path, files: dict[str, bytes], folder: str = "cifar-10-batches-bin/", compression: str = "gz"
    ) -> Path:
        with tarfile.open(file, f"w:{compression}") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(folder + name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return file

    return pack
