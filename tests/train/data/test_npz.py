"""`.npz` archives: what numpy writes is read, and what claims more than it holds is refused before memory is taken."""

import io
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clf_runtime.datasets import npz
from clf_train.data.sources import read_source
from clf_train.errors import DataError

COUNT, CLASSES = 20, 2
HEIGHT, WIDTH = 8, 6
NAMES = np.array(["cat", "dog"])
Save = Callable[..., None]


def make_images(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """uint8 [count, 3, HEIGHT, WIDTH]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, HEIGHT, WIDTH), dtype=np.uint8)


def make_labels(count: int = COUNT) -> np.ndarray:
    return np.arange(count) % CLASSES


def save_pair(folder: Path, train: dict[str, Any] | None = None, test: dict[str, Any] | None = None) -> Path:
    """Write train.npz and test.npz with good images and labels, with changes to either; None leaves an array out."""
    for name, count, changes in (("train", COUNT, train), ("test", 6, test)):
        arrays = {"images": make_images(count), "labels": make_labels(count)} | (changes or {})
        np.savez(folder / f"{name}.npz", **{key: value for key, value in arrays.items() if value is not None})
    return folder


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npy_with_header(header: str, data: bytes = b"") -> bytes:
    """A .npy of version 1.0 with any header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def header_of(shape: str, descr: str = "'|u1'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def write_zip(file: Path, **members: bytes) -> Path:
    """Write an .npz out of the bytes of its members, with good images and labels where none are given."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in ({"images": npy(make_images()), "labels": npy(make_labels())} | members).items():
            archive.writestr(f"{name}.npy", data)
    return file


def whole(read: Any) -> np.ndarray:
    """All images of a dataset, of both parts, in an order that depends on the values alone."""
    images = np.concatenate([read.train.images, read.test.images])
    return images[np.lexsort(images.reshape(len(images), -1).T)]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize("order", ["NCHW", "NHWC", "Fortran", "strided"])
def test_a_single_file_is_read_with_its_values_and_a_part_is_held_out(tmp_path: Path, save: Save, order: str) -> None:
    images = make_images()
    stored = {
        "NCHW": images,
        "NHWC": np.ascontiguousarray(images.transpose(0, 2, 3, 1)),
        "Fortran": np.asfortranarray(images),
        "strided": np.repeat(images, 2, axis=0)[::2],
    }[order]
    save(tmp_path / "set.npz", images=stored, labels=make_labels(), names=NAMES)
    read = read_source(tmp_path / "set.npz")
    assert read.layout == "npz arrays"
    assert read.names == ("cat", "dog")
    assert (len(read.train), len(read.test)) == (16, 4)
    assert "4 of 20 images are held out" in read.notes[0]
    np.testing.assert_array_equal(whole(read), images[np.lexsort(images.reshape(COUNT, -1).T)])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_a_folder_of_train_and_test_is_read_into_its_parts(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "train.npz", images=make_images(), labels=make_labels(), names=NAMES)
    save(tmp_path / "test.npz", images=make_images(6, seed=1), labels=make_labels(6))
    assert npz.recognises(tmp_path)
    read = read_source(tmp_path)
    np.testing.assert_array_equal(read.train.images, make_images())
    np.testing.assert_array_equal(read.train.labels, make_labels())
    np.testing.assert_array_equal(read.test.images, make_images(6, seed=1))
    np.testing.assert_array_equal(read.test.labels, make_labels(6))
    assert read.names == ("cat", "dog")
    assert read.notes == ()


def test_a_folder_with_train_alone_holds_a_part_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", images=make_images(), labels=make_labels())
    read = read_source(tmp_path)
    assert (len(read.train), len(read.test)) == (16, 4)


def test_a_folder_with_test_alone_trains_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", images=make_images(), labels=make_labels())
    with pytest.raises(DataError, match="holds a test part alone, and no training images"):
        read_source(tmp_path)


def test_an_extra_file_beside_train_and_test_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(save_pair(tmp_path) / "more.npz", images=make_images(), labels=make_labels())
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'more.npz'}: an extra file")):
        read_source(tmp_path)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", ">f8"], ids=str)
def test_float_images_of_any_width_and_byte_order_become_float32(tmp_path: Path, dtype: Any) -> None:
    images = (make_images() / 255).astype(dtype)
    read = read_source(save_pair(tmp_path, {"images": images}, {"images": images[:6]}))
    assert read.train.images.dtype == np.dtype(np.float32)
    assert read.train.images.dtype.isnative
    np.testing.assert_array_equal(read.train.images, images.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.int16, np.int64, ">u2", np.uint32], ids=str)
def test_whole_numbers_in_0_to_255_become_uint8(tmp_path: Path, dtype: Any) -> None:
    images = make_images().astype(dtype)
    read = read_source(save_pair(tmp_path, {"images": images}, {"images": images[:6]}))
    assert read.train.images.dtype == np.uint8
    np.testing.assert_array_equal(read.train.images, make_images())


@pytest.mark.parametrize("labels", [make_labels().astype(t) for t in ("u1", ">i4", "i8", "f4", "f8", "?")], ids=str)
def test_labels_of_any_number_dtype_become_int64(tmp_path: Path, labels: np.ndarray) -> None:
    read = read_source(save_pair(tmp_path, {"labels": labels[:, None]}))
    assert read.train.labels.dtype == np.int64
    np.testing.assert_array_equal(read.train.labels, make_labels())


@pytest.mark.parametrize("names", [NAMES, NAMES.astype("S"), np.array(["cat", "dög"])], ids=["text", "bytes", "umlaut"])
@pytest.mark.parametrize("test", [True, False], ids=["both parts", "train alone"])
def test_class_names_are_text_or_bytes(tmp_path: Path, names: np.ndarray, test: bool) -> None:
    read = read_source(save_pair(tmp_path, train={"names": names}, test={"names": names} if test else {}))
    assert read.names == tuple(n.decode() if isinstance(n, bytes) else n for n in names.tolist())


def test_names_that_only_the_test_part_has_are_refused(tmp_path: Path) -> None:
    """Nobody knows whether the training labels count by them, or by what other order."""
    save_pair(tmp_path, test={"names": NAMES[::-1]})
    with pytest.raises(DataError, match=r"test\.npz: holds class names and train\.npz holds none.*add names"):
        read_source(tmp_path)


def test_names_of_both_parts_must_agree(tmp_path: Path) -> None:
    save_pair(tmp_path, {"names": NAMES}, {"names": NAMES[::-1]})
    with pytest.raises(DataError, match=r"test.npz: its class names are not those of train.npz"):
        read_source(tmp_path)


def test_without_names_the_classes_are_numbered(tmp_path: Path) -> None:
    assert read_source(save_pair(tmp_path)).names == ("0", "1")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (np.array([1, 2]), "names must be one string per class, not int64"),
        (np.array([1.5, 2.5]), "names must be one string per class, not float64"),
        (np.array([["cat", "dog"]]), r"names must be one string per class, not <U3 of shape \(1, 2\)"),
        (np.array("cat"), r"names must be one string per class, not <U3 of shape \(\)"),
        (np.array(["cat", "dog"], object), "contains Python objects"),
        (np.array(["cat"]), "labels go up to 1, but there are 1 class names"),
        (np.array(["cat", "dog", "owl"]), r"class 2 \(owl\) has no training images"),
    ],
    ids=["numbers", "fractions", "two axes", "no axis", "objects", "too few", "too many"],
)
def test_names_of_the_wrong_kind_or_count_are_refused(tmp_path: Path, names: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=rf"train.npz.*: {message}"):
        read_source(save_pair(tmp_path, {"names": names}))


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("missing", ["images", "labels"])
def test_a_missing_array_is_named_with_what_is_there(tmp_path: Path, part: str, missing: str) -> None:
    other = {"images": "labels", "labels": "images"}[missing]
    save_pair(tmp_path, **{part: {missing: None}})
    with pytest.raises(DataError, match=rf"{part}.npz: holds no array named {missing} \(it holds {other}\)"):
        read_source(tmp_path)


def test_an_archive_of_nothing_says_so(tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "set.npz", "w").close()
    with pytest.raises(DataError, match=r"holds no array named images \(it holds nothing\)"):
        read_source(tmp_path / "set.npz")


@pytest.mark.parametrize("key", ["images", "labels"])
def test_an_array_of_python_objects_is_refused(tmp_path: Path, key: str) -> None:
    np.savez(
        tmp_path / "set.npz", **{"images": make_images(), "labels": make_labels(), key: np.array([1, "a"], object)}
    )
    with pytest.raises(
        DataError, match=rf"set.npz, array {key}: contains Python objects \(a pickle\), which are never"
    ):
        read_source(tmp_path / "set.npz")


def test_a_pickle_in_place_of_an_array_is_refused_and_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    program = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    for data in (program, npy_with_header(header_of("(1,)", "'|O'"), program)):
        with pytest.raises(DataError, match=r"set.npz, array images: "):
            read_source(write_zip(tmp_path / "set.npz", images=data))
    assert not marker.exists()


@pytest.mark.parametrize("shape", ["(1000000, 1000000)", "(1000000000, 3, 32, 32)", "(4611686018427387904, 3, 32, 32)"])
def test_a_header_that_claims_a_terabyte_is_held_against_the_archive(tmp_path: Path, shape: str) -> None:
    file = write_zip(tmp_path / "set.npz", images=npy_with_header(header_of(shape), bytes(100)))
    with pytest.raises(DataError, match=r"set.npz, array images: damaged.* header.*"):
        read_source(file)


def test_an_archive_that_claims_more_than_any_memory_too_is_refused_by_its_size(tmp_path: Path) -> None:
    member = npy_with_header(header_of("(1000000, 1000000, 1000000)"))
    claimed = len(member) + 10**18
    file = tmp_path / "set.npz"
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        archive.writestr("labels.npy", npy(make_labels()))
        archive.writestr("images.npy", member)
        archive.getinfo("images.npy").file_size = archive.getinfo("images.npy").compress_size = claimed
    with pytest.raises(DataError, match=r"set.npz: damaged .npz: its members are larger than the file"):
        read_source(file)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize("surplus", [-1, 1])
def test_an_array_of_another_size_than_its_header_says_is_refused(tmp_path: Path, save: Save, surplus: int) -> None:
    data = npy(make_images())
    compression = zipfile.ZIP_STORED if save is np.savez else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(tmp_path / "set.npz", "w", compression) as archive:
        archive.writestr("images.npy", data[:-1] if surplus < 0 else data + b"\0")
        archive.writestr("labels.npy", npy(make_labels()))
    with pytest.raises(DataError, match=r"array images: damaged: its header says 2,880 bytes, there are 2,8"):
        read_source(tmp_path / "set.npz")


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY",
        b"not an array at all",
        b"\x93NUMPY\x03\x00v\x00",
        b"\x93NUMPY\x01\x00\xff\xff" + bytes(70_000),
        npy_with_header("{'descr': '|u1'}"),
        npy_with_header("__import__('os').system('false')"),
        npy_with_header(header_of("(-1, 3, 8, 6)"), bytes(144)),
        npy_with_header(header_of("(True, 3, 8, 6)"), bytes(144)),
        npy_with_header(header_of("(1, 1, 1, 1, 1, 3, 8, 6, 1)"), bytes(144)),
        npy_with_header(header_of("'many'")),
        npy_with_header("(" * 4000),
    ],
    ids=[
        "empty",
        "cut in its first bytes",
        "text",
        "unknown version",
        "long header",
        "header without shape",
        "header that is a program",
        "negative length",
        "a bool as length",
        "nine axes",
        "shape of text",
        "deep nesting",
    ],
)
def test_a_damaged_npy_header_is_refused_by_file_and_array(tmp_path: Path, member: bytes) -> None:
    with pytest.raises(DataError, match=r"set.npz, array images: "):
        read_source(write_zip(tmp_path / "set.npz", images=member))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize("kept", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_zip_is_refused_by_name(tmp_path: Path, save: Save, kept: float) -> None:
    file = tmp_path / "set.npz"
    save(file, images=make_images(), labels=make_labels())
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(DataError, match=r"set.npz: not an .npz archive, or damaged"):
        read_source(file)


def test_text_named_npz_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_text("images\n")
    with pytest.raises(DataError, match=r"set.npz: not an .npz archive, or damaged"):
        read_source(tmp_path / "set.npz")


def test_a_single_changed_pixel_is_told_by_the_checksum_of_the_archive(tmp_path: Path) -> None:
    file = tmp_path / "set.npz"
    np.savez(file, images=make_images(), labels=make_labels())
    data = bytearray(file.read_bytes())
    data[data.index(make_images().tobytes()) + 100] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"set.npz, array images: not an .npz archive, or damaged: Bad CRC-32"):
        read_source(file)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "set.npz")
    data = bytearray(file.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(signature, at + 4)
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"set.npz, array images: not an .npz archive, or damaged: .*encrypted"):
        read_source(file)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("train", {"labels": make_labels()[:-1]}, "train.npz: 20 images, but 19 labels"),
        ("test", {"labels": make_labels(7)}, "test.npz: 6 images, but 7 labels"),
        ("train", {"images": make_images().reshape(COUNT, -1)[:, 1:]}, "train.npz: images of shape 20x143; wanted"),
        ("train", {"labels": np.array(["a", "b"] * 10)}, "train.npz: labels of dtype <U1; wanted: whole numbers"),
        ("train", {"images": make_images().astype("S3")}, r"train.npz: images of dtype \|S3; wanted"),
        ("train", {"images": make_images().astype(complex)}, "train.npz: images of dtype complex128; wanted"),
        ("test", {"images": make_images(6)[:, :, :-1]}, "test.npz: images of uint8 3x7x6, but"),
        ("test", {"labels": make_labels(6) + 1}, "test.npz: label 1 is 2, a class without training images"),
    ],
    ids=["lengths", "test lengths", "flattened", "text labels", "text images", "complex", "test size", "test class"],
)
def test_arrays_that_do_not_fit_are_refused_by_file(
    tmp_path: Path, part: str, changes: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_source(save_pair(tmp_path, **{part: changes}))
