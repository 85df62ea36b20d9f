"""MNIST's idx files: packed or not, whole, and held against what their headers claim."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from small_arrays import make_images, make_labels

from clf_train.data.sources import read_source
from clf_train.errors import DataError

X, Y = make_images()[:, 0], make_labels()
T, U = make_images(6, 1)[:, 0], make_labels(6)


def idx(array: np.ndarray, code: int = 8) -> bytes:
    kind = {8: "u1", 12: ">i4", 13: ">f4"}[code]
    head = struct.pack(">HBB", 0, code, array.ndim) + struct.pack(">" + "I" * array.ndim, *array.shape)
    return head + array.astype(kind).tobytes()


def save(
    folder: Path, *, packed: bool = False, train: str = "train-{}-idx{}-ubyte", test: str = "t10k-{}-idx{}-ubyte"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, images, labels in ((train, X, Y), (test, T, U)):
        for kind, array in (("images", images), ("labels", labels)):
            data = idx(array)
            file = folder / (name.format(kind, array.ndim) + ".gz" * packed)
            file.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"packed": True},
        {"train": "train-{}.idx{}-ubyte", "test": "t10k-{}.idx{}-ubyte"},
        {"train": "emnist-letters-train-{}-idx{}-ubyte", "test": "emnist-letters-test-{}-idx{}-ubyte", "packed": True},
    ],
)
def test_mnist_s_files_are_read_by_all_their_names(tmp_path: Path, names: dict[str, str]) -> None:
    read = read_source(save(tmp_path, **names))  # type: ignore[arg-type]
    assert read.layout == "idx arrays"
    assert read.image_shape == (1, 8, 6)
    np.testing.assert_array_equal(read.train.images[:, 0], X)
    np.testing.assert_array_equal(read.train.labels, Y)
    np.testing.assert_array_equal(read.test.images[:, 0], T)
    np.testing.assert_array_equal(read.test.labels, U)


def test_as_torchvision_leaves_them_both_packed_and_not_and_deep(tmp_path: Path) -> None:
    save(tmp_path / "MNIST" / "raw")
    save(tmp_path / "MNIST" / "raw", packed=True)
    assert read_source(tmp_path).fingerprint == read_source(tmp_path / "MNIST" / "raw").fingerprint


def test_other_dtypes(tmp_path: Path) -> None:
    save(tmp_path)
    for name, array in (("train-images-idx3-ubyte", X / 255), ("t10k-images-idx3-ubyte", T / 255)):
        (tmp_path / name).write_bytes(idx(array, 13))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(Y, 12))
    read = read_source(tmp_path)
    assert (read.dtype, read.train.labels.tolist()) == ("float32", Y.tolist())


def test_several_sets_and_missing_partners_are_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "a")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: the labels of the test part are missing"):
        read_source(folder)
    folder = save(tmp_path / "b")
    save(folder, train="emnist-train-{}-idx{}-ubyte")
    with pytest.raises(DataError, match="several sets"):
        read_source(folder)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:3],
        lambda data: data[:10],
        lambda data: b"\x1f" + data[1:],
        lambda data: data[:2] + b"\x07" + data[3:],
        lambda data: data[:3] + b"\xff" + data[4:],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:4] + b"\xff" * 12 + data[16:],  # 79 billion billion billion bytes
        lambda data: data[:4] + b"\0\1\0\0" * 3 + data[16:],  # 281 TB
    ],
)
def test_what_a_header_claims_must_be_there(tmp_path: Path, packed: bool, damage: object) -> None:
    folder = save(tmp_path)
    file = folder / "train-images-idx3-ubyte"
    data = damage(file.read_bytes())  # type: ignore[operator]
    file.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: (not an idx file|truncated|damaged)"):
        read_source(folder)


def test_damage_in_a_packed_file_is_told_by_its_checksum(tmp_path: Path) -> None:
    file = save(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    for damaged in (bytes(data), file.read_bytes()[:-9]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"ubyte\.gz: damaged or truncated"):
            read_source(tmp_path)
