"""A folder of tensors: its files, values that do not fit together, and the part that is held out."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_arrays import COUNT, TEST_COUNT
from small_tensors import make_labels, make_pixels, scaled

from clf_runtime.datasets import tensors
from clf_train.data import statistics
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Save = Callable[..., Path]


@pytest.mark.parametrize("suffix", ["_2", "", "_2.pt", ".pt", "_2.pth", ".pth"])
def test_each_known_file_name_is_recognised(tmp_path: Path, save_tensors: Save, suffix: str) -> None:
    folder = save_tensors(tmp_path, suffix=suffix)
    assert tensors.recognises(folder)
    read = read_source(folder)
    assert (len(read.train), len(read.test)) == (COUNT, TEST_COUNT)


@pytest.mark.parametrize("name", ["train_data_2", "train_labels_2", "test_data_2", "test_labels_2"])
def test_a_missing_file_is_named(tmp_path: Path, save_tensors: Save, name: str) -> None:
    folder = save_tensors(tmp_path)
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: missing"):
        read_source(folder)


def test_a_folder_in_place_of_a_file_counts_as_missing(tmp_path: Path, save_tensors: Save) -> None:
    folder = save_tensors(tmp_path)
    (folder / "train_data_2").unlink()
    (folder / "train_data_2").mkdir()
    with pytest.raises(DataError, match=r"train_data_2: missing"):
        read_source(folder)


@pytest.mark.parametrize("name", ["train_data_3", "val_data_2", "test_data_2.pt", "notes.txt", "more"])
def test_an_extra_file_is_refused_by_name(tmp_path: Path, save_tensors: Save, name: str) -> None:
    folder = save_tensors(tmp_path)
    (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(f"{folder / name}: an extra file")):
        read_source(folder)


@pytest.mark.parametrize("name", ["README", "README.md", "LICENSE", "names.txt", ".DS_Store", "Thumbs.db"])
def test_a_file_that_only_describes_the_data_is_no_extra_file(tmp_path: Path, save_tensors: Save, name: str) -> None:
    folder = save_tensors(tmp_path)
    (folder / name).write_bytes(b"a\nb\nc\n")
    assert len(read_source(folder).train) == COUNT


def test_two_sets_in_one_folder_are_refused(tmp_path: Path, save_tensors: Save) -> None:
    save_tensors(tmp_path)
    save_tensors(tmp_path, suffix="")
    with pytest.raises(DataError, match=r"several sets of tensors \(train_\*_2, train_\*\)"):
        read_source(tmp_path)


def test_images_and_labels_of_two_sets_are_not_taken_for_one(tmp_path: Path, save_tensors: Save) -> None:
    save_tensors(tmp_path, train_labels=None, test_data=None, test_labels=None)
    save_tensors(tmp_path, suffix=".pt", train_data=None, test_data=None, test_labels=None)
    with pytest.raises(DataError, match="several sets"):
        read_source(tmp_path)


def test_a_class_that_the_test_part_lacks_is_a_note_and_no_error(tmp_path: Path, save_tensors: Save) -> None:
    read = read_source(save_tensors(tmp_path, test_labels=torch.tensor([0, 0, 0, 1, 1, 1])))
    assert read.names == ("0", "1", "2")
    assert read.notes == ("the test part has no images of 2",)


def test_a_complete_set_has_no_notes(tmp_path: Path, save_tensors: Save) -> None:
    assert read_source(save_tensors(tmp_path)).notes == ()


def test_without_a_test_pair_a_stratified_part_is_held_out_and_said_so(tmp_path: Path, save_tensors: Save) -> None:
    labels = torch.tensor([0] * 20 + [1] * 10 + [2] * 10)
    images = make_pixels(40)
    read = read_source(save_tensors(tmp_path, train_data=images, train_labels=labels, test_data=None, test_labels=None))
    assert np.bincount(read.test.labels).tolist() == [4, 2, 2]
    assert np.bincount(read.train.labels).tolist() == [16, 8, 8]
    (note,) = read.notes
    assert "there is no test part: 8 of 40 images are held out" in note
    assert "seed 0" in note


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
    tmp_path: Path,
    save_tensors: Save,
    monkeypatch: pytest.MonkeyPatch,
    value: float,
    chunk: int,
    name: str,
    count: int,
    index: int,
) -> None:
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", chunk)
    folder = save_tensors(tmp_path, **(FLOATS | {name: with_pixel(value, index, count)}))
    with pytest.raises(DataError, match=rf"{name}_2: image {index} contains NaN or infinity"):
        read_source(folder)


def test_an_image_with_nan_is_found_where_there_is_no_test_part(tmp_path: Path, save_tensors: Save) -> None:
    folder = save_tensors(tmp_path, train_data=with_pixel(float("nan"), 3), test_data=None, test_labels=None)
    with pytest.raises(DataError, match="contains NaN or infinity"):
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
    "a fractional label": ({"train_labels": labels_with(0.5)}, "train_data_2: label 4 is 0.5, not an integer"),
    "a NaN label": ({"train_labels": labels_with(float("nan"))}, "train_data_2: label 4 is nan, not an integer"),
    "an infinite label": (
        {"train_labels": labels_with(float("inf"))},
        "train_data_2: label 4 is inf, not an integer",
    ),
    "a label beyond int64": (
        {"train_labels": labels_with(1e30, dtype=torch.float64)},
        "train_data_2: label 4 is 1e+30",
    ),
    "a fractional test label": (
        {"test_labels": make_labels(TEST_COUNT) + 0.25},
        "test_data_2: label 0 is 0.25, not an integer",
    ),
    "labels from 1": ({"train_labels": make_labels() + 1}, "train_data_2: class 0 (0) has no training images"),
    "a class that no training image has": (
        {"train_labels": torch.tensor([0, 1, 3] * 4)},
        "train_data_2: class 2 (2) has no training images",
    ),
    "a label far above the number of images": (
        {"train_labels": labels_with(10**12, dtype=torch.int64)},
        "train_data_2: a label is 1,000,000,000,000, but there are only 12 images",
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
    "flattened images": ({"train_data": make_pixels().flatten(1)}, "train_data_2: images of shape 12x144; expected"),
    "a single axis": ({"train_data": make_pixels().flatten()}, "train_data_2: images of shape 1728; expected"),
    "five axes": ({"train_data": make_pixels()[:, :, None]}, "train_data_2: images of shape 12x3x1x8x6; expected"),
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
    "bool images": ({"train_data": make_pixels() > 9}, "train_data_2: images of dtype bool; expected"),
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
def test_wrong_values_are_refused_with_the_file_and_the_reason(tmp_path: Path, save_tensors: Save, case: str) -> None:
    changes, message = WRONG_VALUES[case]
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_source(save_tensors(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_without_axis_in_a_tensor(tmp_path: Path, save_tensors: Save) -> None:
    label = torch.tensor(3)
    with pytest.raises(DataError):
        read_source(save_tensors(tmp_path, train_labels=label, test_labels=label))
