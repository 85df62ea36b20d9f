"""Tensors of torch.save: the dtypes and memory orders that people save, and the ways such files can be wrong."""

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clf_train import dataset
from clf_train.errors import DataError
from clf_train.sources import read_source, tensors

COUNT, TEST_COUNT, CLASSES = 12, 6, 3
HEIGHT, WIDTH = 8, 6  # unlike each other, so that swapped axes show


def make_pixels(count: int = COUNT, seed: int = 0) -> torch.Tensor:
    """uint8 [count, 3, HEIGHT, WIDTH]."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, HEIGHT, WIDTH), dtype=np.uint8))


def make_labels(count: int = COUNT) -> torch.Tensor:
    return torch.arange(count) % CLASSES


def save(folder: Path, suffix: str = "_2", legacy: bool = False, **changes: Any) -> Path:
    """Write four good tensors, with `changes` to their values; a change to None leaves the file out."""
    values = {
        "train_data": make_pixels(),
        "train_labels": make_labels(),
        "test_data": make_pixels(TEST_COUNT, seed=1),
        "test_labels": make_labels(TEST_COUNT),
    }
    folder.mkdir(exist_ok=True)
    for name, value in (values | changes).items():
        if value is not None:
            torch.save(value, folder / f"{name}{suffix}", _use_new_zipfile_serialization=not legacy)
    return folder


def scaled(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() / 255


def to_nhwc(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.permute(0, 2, 3, 1).contiguous()


def permuted(pixels: torch.Tensor) -> torch.Tensor:
    """The same values in the same axes, but channels last in memory."""
    return to_nhwc(pixels).permute(0, 3, 1, 2)


SAVED_IMAGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "float32": scaled,
    "float32 view that is channels last in memory": lambda p: permuted(scaled(p)),
    "float32 slice out of the middle of a larger tensor": lambda p: torch.cat([p, p, p]).float()[5 : 5 + COUNT],
    "float32 every second image of a larger tensor": lambda p: scaled(p).repeat_interleave(2, 0)[::2],
    "float32 mirrored and back": lambda p: scaled(p).flip(3).flip(3),
    "float32 in 0..255": lambda p: p.float(),
    "float32 in -1..1": lambda p: scaled(p) * 2 - 1,
    "float32 that requires a gradient": lambda p: scaled(p).requires_grad_(),
    "float32 parameter": lambda p: torch.nn.Parameter(scaled(p)),
    "float32 N x H x W x C": lambda p: to_nhwc(scaled(p)),
    "float32 N x H x W x C view of N x C x H x W": lambda p: scaled(p).permute(0, 2, 3, 1),
    "float64": lambda p: p.double() / 255,
    "float16": lambda p: scaled(p).half(),
    "bfloat16": lambda p: scaled(p).bfloat16(),
    "bfloat16 view that is channels last in memory": lambda p: permuted(scaled(p)).bfloat16(),
    "uint8": lambda p: p,
    "uint8 view that is channels last in memory": permuted,
    "uint8 N x H x W x C": to_nhwc,
    "int16": lambda p: p.short(),
    "int64": lambda p: p.long(),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", SAVED_IMAGES)
def test_images_of_any_dtype_and_memory_order_come_out_as_nchw_with_their_values(
    tmp_path: Path, kind: str, legacy: bool
) -> None:
    saved = SAVED_IMAGES[kind](make_pixels())
    read = read_source(
        save(tmp_path, legacy=legacy, train_data=saved, test_data=saved[:TEST_COUNT], test_labels=make_labels(6))
    )

    nchw = saved.detach().permute(0, 3, 1, 2) if saved.shape[-1] == 3 else saved.detach()
    dtype = np.float32 if saved.is_floating_point() else np.uint8
    wanted = nchw.to(torch.float32).numpy().astype(dtype)
    assert read.layout == "tensors of torch.save"
    assert read.train.images.dtype == dtype
    assert read.image_shape == (3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(read.train.images, wanted)
    np.testing.assert_array_equal(read.test.images, wanted[:TEST_COUNT])


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_one_or_four_channels_are_read(tmp_path: Path, channels: int) -> None:
    images = make_pixels()[:, :1].repeat(1, channels, 1, 1)
    read = read_source(save(tmp_path, train_data=images, test_data=images[:TEST_COUNT]))
    assert read.image_shape == (channels, HEIGHT, WIDTH)


def test_images_without_a_channel_axis_are_grey(tmp_path: Path) -> None:
    images = make_pixels()[:, 0]
    read = read_source(save(tmp_path, train_data=images, test_data=images[:TEST_COUNT]))
    assert read.image_shape == (1, HEIGHT, WIDTH)
    np.testing.assert_array_equal(read.train.images[:, 0], images.numpy())


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64],
    ids=str,
)
@pytest.mark.parametrize("column", [False, True], ids=["N", "N x 1"])
def test_labels_of_any_number_dtype_become_int64(tmp_path: Path, dtype: torch.dtype, column: bool) -> None:
    labels = make_labels().to(dtype)
    read = read_source(save(tmp_path, train_labels=labels[:, None] if column else labels))
    assert read.train.labels.dtype == np.int64
    np.testing.assert_array_equal(read.train.labels, make_labels().numpy())


def test_labels_of_bool_become_classes_0_and_1(tmp_path: Path) -> None:
    labels = torch.arange(COUNT) % 2
    read = read_source(save(tmp_path, train_labels=labels.bool(), test_labels=labels[:TEST_COUNT].bool()))
    np.testing.assert_array_equal(read.train.labels, labels.numpy())
    assert read.names == ("0", "1")


def test_labels_saved_as_a_strided_view_keep_their_order(tmp_path: Path) -> None:
    table = torch.stack([make_labels(), torch.full((COUNT,), 9)], dim=1)
    read = read_source(save(tmp_path, train_labels=table[:, 0]))
    np.testing.assert_array_equal(read.train.labels, make_labels().numpy())


@pytest.mark.parametrize("suffix", ["_2", "", "_2.pt", ".pt", "_2.pth", ".pth"])
def test_each_known_file_name_is_recognised(tmp_path: Path, suffix: str) -> None:
    folder = save(tmp_path, suffix=suffix)
    assert tensors.recognises(folder)
    read = read_source(folder)
    assert (len(read.train), len(read.test)) == (COUNT, TEST_COUNT)


def test_the_same_values_have_the_same_fingerprint_in_either_format_and_memory_order(tmp_path: Path) -> None:
    pixels, test = make_pixels(), make_pixels(TEST_COUNT, seed=1)
    folders = [
        save(tmp_path / "zip", train_data=scaled(pixels), test_data=scaled(test)),
        save(tmp_path / "legacy", legacy=True, train_data=scaled(pixels), test_data=scaled(test)),
        save(tmp_path / "view", train_data=permuted(scaled(pixels)), test_data=permuted(scaled(test))),
        save(tmp_path / "nhwc", train_data=to_nhwc(scaled(pixels)), test_data=to_nhwc(scaled(test))),
        save(tmp_path / "pt", suffix=".pt", train_data=scaled(pixels), test_data=scaled(test)),
    ]
    assert len({read_source(folder).fingerprint for folder in folders}) == 1


def mapped_files(array: np.ndarray) -> set[str]:
    """The files that the memory of an array is mapped from; `array` must be contiguous."""
    files = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, _, *file = line.split(maxsplit=5)
        first, end = (int(address, 16) for address in span.split("-"))
        if first < array.ctypes.data + array.nbytes and array.ctypes.data < end and file:
            files.add(file[0])
    return files


def private_bytes() -> int:
    """Memory of this process that no file stands behind."""
    (line,) = (x for x in Path("/proc/self/smaps_rollup").read_text().splitlines() if x.startswith("Anonymous:"))
    return int(line.split()[1]) << 10


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="looks into /proc, as Linux has it"
)


@needs_proc
@pytest.mark.parametrize("kind", ["float32", "uint8", "float32 slice out of the middle of a larger tensor"])
def test_images_stay_mapped_from_their_file(tmp_path: Path, kind: str) -> None:
    saved = SAVED_IMAGES[kind](make_pixels())
    read = read_source(save(tmp_path, train_data=saved, test_data=saved[:TEST_COUNT]))
    assert mapped_files(read.train.images) == {str(tmp_path / "train_data_2")}
    assert mapped_files(read.test.images) == {str(tmp_path / "test_data_2")}


@needs_proc
def test_images_of_the_legacy_format_are_a_copy_that_outlives_the_file(tmp_path: Path) -> None:
    read = read_source(save(tmp_path, legacy=True))
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    assert str(tmp_path / "train_data_2") not in mapped_files(read.train.images)
    np.testing.assert_array_equal(read.train.images, make_pixels().numpy())


@needs_proc
@pytest.mark.parametrize("order", ["contiguous", "channels last"])
def test_reading_a_large_set_makes_no_private_copy_of_it(
    tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "_CHUNK_BYTES", 1 << 20)
    images = torch.rand(2500, 3, 32, 32)
    size = images.nbytes  # 31 MB
    save(tmp_path / "large", train_data=images if order == "contiguous" else permuted(images), train_labels=None)
    save(tmp_path / "large", train_data=None, test_data=torch.rand(TEST_COUNT, 3, 32, 32))
    torch.save(torch.arange(2500) % CLASSES, tmp_path / "large" / "train_labels_2")
    del images
    read_source(save(tmp_path / "small"))  # what is loaded on the first read does not count

    before = private_bytes()
    read = read_source(tmp_path / "large")
    grown = private_bytes() - before
    assert len(read.train) == 2500
    assert grown < size / 4


@pytest.mark.parametrize("name", ["train_data_2", "train_labels_2", "test_data_2", "test_labels_2"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path)
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: missing"):
        read_source(folder)


def test_a_folder_in_place_of_a_file_counts_as_missing(tmp_path: Path) -> None:
    folder = save(tmp_path)
    (folder / "train_data_2").unlink()
    (folder / "train_data_2").mkdir()
    with pytest.raises(DataError, match=r"train_data_2: missing"):
        read_source(folder)


@pytest.mark.parametrize("name", ["train_data_3", "val_data_2", "test_data_2.pt", "notes.txt", "more"])
def test_an_extra_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path)
    (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(f"{folder / name}: an extra file")):
        read_source(folder)


@pytest.mark.parametrize("name", ["README", "README.md", "LICENSE", "names.txt", ".DS_Store", "Thumbs.db"])
def test_a_file_that_only_describes_the_data_is_no_extra_file(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path)
    (folder / name).write_bytes(b"a\nb\nc\n")
    assert len(read_source(folder).train) == COUNT


def test_two_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    save(tmp_path)
    save(tmp_path, suffix="")
    with pytest.raises(DataError, match=r"several sets of tensors \(train_\*_2, train_\*\)"):
        read_source(tmp_path)


def test_images_and_labels_of_two_sets_are_not_taken_for_one(tmp_path: Path) -> None:
    save(tmp_path, train_labels=None, test_data=None, test_labels=None)
    save(tmp_path, suffix=".pt", train_data=None, test_data=None, test_labels=None)
    with pytest.raises(DataError, match="several sets"):
        read_source(tmp_path)


def with_pixel(value: float, index: int, count: int = COUNT) -> torch.Tensor:
    images = scaled(make_pixels(count))
    images[index, 1, 2, 3] = value
    return images


FLOATS = {"train_data": scaled(make_pixels()), "test_data": scaled(make_pixels(TEST_COUNT))}


@pytest.mark.parametrize(
    ("value", "chunk"),
    [
        (float("nan"), 16 << 20),
        (float("inf"), 16 << 20),
        (-float("inf"), 16 << 20),
        (float("inf"), 1),
        (-float("inf"), 1),
    ],
    ids=["NaN", "infinity", "-infinity", "infinity in a later chunk", "-infinity in a later chunk"],
)
@pytest.mark.parametrize(("name", "count", "index"), [("train_data", COUNT, 7), ("test_data", TEST_COUNT, 5)])
def test_an_image_with_nan_or_infinity_is_named_by_file_and_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, chunk: int, name: str, count: int, index: int
) -> None:
    monkeypatch.setattr(dataset, "_CHUNK_BYTES", chunk)
    folder = save(tmp_path, **(FLOATS | {name: with_pixel(value, index, count)}))
    with pytest.raises(DataError, match=rf"{name}_2: image {index} holds NaN or infinity"):
        read_source(folder)


def test_an_image_with_nan_is_found_where_there_is_no_test_part(tmp_path: Path) -> None:
    folder = save(tmp_path, train_data=with_pixel(float("nan"), 3), test_data=None, test_labels=None)
    with pytest.raises(DataError, match="holds NaN or infinity"):
        read_source(folder)


def labels_with(value: float, index: int = 4, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    labels = make_labels().to(dtype)
    labels[index] = value
    return labels


WRONG_VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "fewer labels than images": (
        {"train_labels": make_labels()[:-1]},
        "train_data_2: 12 images, but 11 labels",
    ),
    "more labels than images in the test part": (
        {"test_labels": make_labels()},
        "test_data_2: 6 images, but 12 labels",
    ),
    "no image at all": (
        {"train_data": make_pixels()[:0], "train_labels": make_labels()[:0]},
        "train_data_2: images of shape 0x3x8x6",
    ),
    "no test image at all": (
        {"test_data": make_pixels()[:0], "test_labels": make_labels()[:0]},
        "test_data_2: images of shape 0x3x8x6",
    ),
    "a negative label": (
        {"train_labels": labels_with(-1, dtype=torch.int64)},
        "train_data_2: label 4 is -1; labels are 0 to n-1",
    ),
    "a fractional label": ({"train_labels": labels_with(0.5)}, "train_data_2: label 4 is 0.5, not a whole number"),
    "a NaN label": ({"train_labels": labels_with(float("nan"))}, "train_data_2: label 4 is nan, not a whole number"),
    "an infinite label": (
        {"train_labels": labels_with(float("inf"))},
        "train_data_2: label 4 is inf, not a whole number",
    ),
    "a label beyond int64": (
        {"train_labels": labels_with(1e30, dtype=torch.float64)},
        "train_data_2: label 4 is 1e+30",
    ),
    "a fractional test label": (
        {"test_labels": make_labels(TEST_COUNT) + 0.25},
        "test_data_2: label 0 is 0.25, not a whole number",
    ),
    "labels from 1": ({"train_labels": make_labels() + 1}, "train_data_2: class 0 (0) has no training images"),
    "a class that no training image has": (
        {"train_labels": torch.tensor([0, 1, 3] * 4)},
        "train_data_2: class 2 (2) has no training images",
    ),
    "a label far above the number of images": (
        {"train_labels": labels_with(10**12, dtype=torch.int64)},
        "train_data_2: a label is 1,000,000,000,000 where there are 12 images",
    ),
    "images of a single class": (
        {"train_labels": make_labels() * 0, "test_labels": make_labels(TEST_COUNT) * 0},
        "train_data_2: all images are of one class",
    ),
    "a test class that was not trained": (
        {"test_labels": torch.tensor([0, 1, 2, 0, 3, 2])},
        "test_data_2: label 4 is 3, a class without training images",
    ),
    "labels as text columns": ({"train_labels": torch.zeros(COUNT, 2)}, "train_data_2: labels of shape 12x2"),
    "labels of three axes": ({"train_labels": torch.zeros(COUNT, 1, 1)}, "train_data_2: labels of shape 12x1x1"),
    "flattened images": ({"train_data": make_pixels().flatten(1)}, "train_data_2: images of shape 12x144; wanted"),
    "a single axis": ({"train_data": make_pixels().flatten()}, "train_data_2: images of shape 1728; wanted"),
    "five axes": ({"train_data": make_pixels()[:, :, None]}, "train_data_2: images of shape 12x3x1x8x6; wanted"),
    "five channels": (
        {"train_data": make_pixels()[:, [0, 1, 2, 0, 1]]},
        "train_data_2: images of shape 12x5x8x6: neither the second nor the last axis",
    ),
    "flattened test images": ({"test_data": make_pixels(TEST_COUNT).flatten(1)}, "test_data_2: images of shape 6x144"),
    "test images of another size": (
        {"test_data": make_pixels(TEST_COUNT)[..., :-1]},
        "test_data_2: images of uint8 3x8x5, but",
    ),
    "test images of another dtype": (
        {"test_data": scaled(make_pixels(TEST_COUNT))},
        "test_data_2: images of float32 3x8x6, but",
    ),
    "bool images": ({"train_data": make_pixels() > 9}, "train_data_2: images of dtype bool; wanted"),
    "whole numbers above 255": (
        {"train_data": make_pixels().int() + 1},
        "train_data_2: int32 images with values 1..256",
    ),
    "negative whole numbers": (
        {"train_data": make_pixels().int() - 1},
        "train_data_2: int32 images with values -1..254",
    ),
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_wrong_values_are_refused_with_the_file_and_the_reason(tmp_path: Path, case: str) -> None:
    changes, message = WRONG_VALUES[case]
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_source(save(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_KINDS: dict[str, tuple[Any, str]] = {
    "list of tensors": ([make_pixels()], "holds a list, wanted one tensor"),
    "dict of tensors": ({"data": make_pixels()}, "holds a dict, wanted one tensor"),
    "tuple": ((make_pixels(), make_labels()), "holds a tuple, wanted one tensor"),
    "number": (3, "holds a int, wanted one tensor"),
    "text": ("images", "holds a str, wanted one tensor"),
    "None": ([None], "holds a list, wanted one tensor"),
    "sparse tensor": (make_pixels().float().to_sparse(), "wanted a plain one of real numbers"),
    "complex tensor": (make_pixels().to(torch.complex64), "wanted a plain one of real numbers"),
    "module": (torch.nn.Linear(2, 2), "holds Python objects other than tensors, which are never loaded"),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("case", WRONG_KINDS)
def test_anything_but_one_plain_tensor_is_refused(tmp_path: Path, case: str, legacy: bool) -> None:
    value, message = WRONG_KINDS[case]
    with pytest.raises(DataError, match=f"train_data_2: .*{message}"):
        read_source(save(tmp_path, legacy=legacy, train_data=value))


class Payload:
    """What a hostile pickle holds: on loading, the shell makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def test_the_payload_of_these_tests_is_real(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["train_data_2", "train_labels_2", "test_data_2", "test_labels_2"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "hidden beside a tensor"])
def test_a_hostile_pickle_is_refused_and_never_run(tmp_path: Path, name: str, form: str) -> None:
    folder, marker = save(tmp_path / "set"), tmp_path / "marker"
    payload = Payload(marker)
    if form == "pickle":
        (folder / name).write_bytes(pickle.dumps(payload, protocol=2))
    else:
        value = [make_pixels(), payload] if form.startswith("hidden") else payload
        torch.save(value, folder / name, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(DataError, match=f"{name}: "):
        read_source(folder)
    assert not marker.exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0, 1, 4, 100, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float, legacy: bool) -> None:
    folder = save(tmp_path, legacy=legacy)
    data = (folder / "train_data_2").read_bytes()
    (folder / "train_data_2").write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(DataError, match=re.escape(str(folder))):
        read_source(folder)


@pytest.mark.parametrize("name", ["train_data_2", "test_labels_2"])
def test_a_single_changed_byte_is_told_by_the_checksum_of_the_file(tmp_path: Path, name: str) -> None:
    file = save(tmp_path) / name
    with zipfile.ZipFile(file) as archive:
        value = archive.read(f"{name}/data/0")
    data = bytearray(file.read_bytes())
    data[data.index(value) + len(value) - 1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: not a tensor .*, or damaged: Bad CRC-32 for file '{name}/data/0'"):
        read_source(tmp_path)


def test_a_file_that_torch_wrote_without_checksums_is_read(tmp_path: Path) -> None:
    wanted = read_source(save(tmp_path / "with")).fingerprint
    torch.serialization.set_crc32_options(False)
    try:
        save(tmp_path / "without")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "without" / "train_data_2") as archive:
        assert archive.testzip() is not None
    assert read_source(tmp_path / "without").fingerprint == wanted


def test_members_that_share_their_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    file = save(tmp_path) / "train_data_2"
    with zipfile.ZipFile(file, "a") as archive:
        archive.filelist += [archive.getinfo("train_data_2/data/0")] * 1000
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"train_data_2: .*its members claim more than the file holds"):
        read_source(tmp_path)


def test_a_file_that_can_neither_be_mapped_nor_fits_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "physical_memory", lambda: 1000)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(DataError, match="train_data_2: cannot be mapped and does not fit into memory; save it anew"):
        read_source(save(tmp_path, legacy=True))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1 2 3\n" * 100,
        b"PK\x03\x04" + bytes(100),
        b"PK\x05\x06" + bytes(18),
        b"\x93NUMPY\x01\x00v\x00",
        bytes(4096),
    ],
    ids=["empty", "text", "start of a zip", "zip of nothing", "npy", "zeros"],
)
def test_a_file_that_is_no_tensor_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    folder = save(tmp_path)
    (folder / "test_data_2").write_bytes(content)
    with pytest.raises(DataError, match=r"test_data_2: not a tensor written with torch\.save, or damaged"):
        read_source(folder)


def test_an_npz_under_the_name_of_a_tensor_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path)
    with (folder / "train_data_2").open("wb") as stream:
        np.savez(stream, images=make_pixels().numpy())
    with pytest.raises(DataError, match=r"train_data_2: not a tensor written with torch\.save, or damaged"):
        read_source(folder)


def test_a_class_that_the_test_part_lacks_is_a_note_and_no_error(tmp_path: Path) -> None:
    read = read_source(save(tmp_path, test_labels=torch.tensor([0, 0, 0, 1, 1, 1])))
    assert read.names == ("0", "1", "2")
    assert read.notes == ("the test part has no image of 2",)


def test_a_complete_set_has_no_notes(tmp_path: Path) -> None:
    assert read_source(save(tmp_path)).notes == ()


def test_without_a_test_pair_a_stratified_part_is_held_out_and_said_so(tmp_path: Path) -> None:
    labels = torch.tensor([0] * 20 + [1] * 10 + [2] * 10)
    images = make_pixels(40)
    read = read_source(save(tmp_path, train_data=images, train_labels=labels, test_data=None, test_labels=None))
    assert np.bincount(read.test.labels).tolist() == [4, 2, 2]
    assert np.bincount(read.train.labels).tolist() == [16, 8, 8]
    (note,) = read.notes
    assert "there is no test part: 8 of 40 images are held out" in note
    assert "seed 0" in note


def test_without_a_test_pair_the_same_part_is_held_out_on_every_read(tmp_path: Path) -> None:
    save(tmp_path, train_data=make_pixels(60), train_labels=make_labels(60), test_data=None, test_labels=None)
    np.random.seed(1)  # a state that others may leave behind
    first = read_source(tmp_path)
    np.random.seed(2)
    second = read_source(tmp_path)
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.test.images, second.test.images)
    np.testing.assert_array_equal(first.train.labels, second.train.labels)


def test_the_held_out_images_are_those_of_the_file_each_in_one_part_with_its_label(tmp_path: Path) -> None:
    images = torch.arange(30, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 2, 2)  # image i is all i
    save(tmp_path, train_data=images, train_labels=make_labels(30), test_data=None, test_labels=None)
    read = read_source(tmp_path)
    seen = np.concatenate([read.train.images[:, 0, 0, 0], read.test.images[:, 0, 0, 0]])
    labels = np.concatenate([read.train.labels, read.test.labels])
    assert sorted(seen.tolist()) == list(range(30))
    np.testing.assert_array_equal(labels, seen % CLASSES)


def test_a_class_of_one_image_cannot_be_split(tmp_path: Path) -> None:
    labels = torch.tensor([0, 1] * 5 + [2, 0])
    with pytest.raises(DataError, match="train_data_2: class 2 has one image, too few to hold one out"):
        read_source(save(tmp_path, train_labels=labels, test_data=None, test_labels=None))
