"""One file of torch.save with images and labels: pairs, dicts, several parts, and what is no such file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_tensors import make_labels, make_pixels

from clf_runtime.datasets import torch_save
from clf_train import Dataset
from clf_train.data.sources import read_source
from clf_train.errors import DataError

X, Y, T, U = make_pixels(), make_labels(), make_pixels(6, 1), make_labels(6)
ONE_HOT = torch.nn.functional.one_hot(Y)


def save(file: Path, value: Any) -> Path:
    torch.save(value, file)
    return file


def check_parts(read: Dataset, validation: int | None = None) -> None:
    assert (read.layout, read.validation_images) == ("tensors of torch.save", validation)
    np.testing.assert_array_equal(read.train.images[:12], X.numpy())
    np.testing.assert_array_equal(read.train.labels[:12], Y.numpy())
    np.testing.assert_array_equal(read.test.images, T.numpy())
    np.testing.assert_array_equal(read.test.labels, U.numpy())


@pytest.mark.parametrize(
    ("value", "validation"),
    [
        ((X, Y, T, U), None),
        (((X, Y), (T, U)), None),
        ([[X, ONE_HOT], [T, U], [T, U]], 6),
        ({"x_train": X, "y_train": Y, "x_test": T, "y_test": U}, None),
        ({"train": (X, Y), "val": (T, U), "test": (T, U[:, None])}, 6),
        ({"Train": {"images": X, "labels": Y}, "Test": {"data": T, "targets": U}}, None),
    ],
)
def test_parts_in_all_their_forms(tmp_path: Path, value: Any, validation: int | None) -> None:
    check_parts(read_source(save(tmp_path / "set.pt", value)), validation)


@pytest.mark.parametrize("value", [(X, Y), [X, Y], {"images": X, "labels": Y}, {"data": X, "targets": ONE_HOT.float()}])
def test_one_part_in_all_its_forms(tmp_path: Path, value: Any) -> None:
    read = read_source(save(tmp_path / "set.pth", value))
    assert len(read.train) + len(read.test) == 12
    assert "there is no test part" in read.notes[-1]


def test_names_of_classes_may_lie_in_it(tmp_path: Path) -> None:
    read = read_source(save(tmp_path / "set.pt", {"images": X, "labels": Y, "classes": ["a", "b ", "c"]}))
    assert read.names == ("a", "b", "c")
    with pytest.raises(DataError, match="its class names are not a list of strings"):
        read_source(save(tmp_path / "set.pt", {"images": X, "labels": Y, "classes": [1, 2, 3]}))


def test_a_file_a_part(tmp_path: Path) -> None:
    save(tmp_path / "training.pt", (X, Y))
    save(tmp_path / "test.pt", (T, U))
    check_parts(read_source(tmp_path))
    save(tmp_path / "Val.pt", {"images": T, "labels": U})
    check_parts(read_source(tmp_path), 6)
    save(tmp_path / "train.pt", (X, Y))
    with pytest.raises(DataError, match=r"both train\.pt and training\.pt"):
        read_source(tmp_path)


class Own:
    """What a pickle would have to run code for."""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (X, "contains a single tensor; expected images and labels"),
        (7, "contains a int; expected images and labels"),
        ([], "contains a list; expected"),
        ({}, "contains no array images"),
        ({"conv1.weight": X, "conv1.bias": Y}, "contains an unknown array conv1.(bias|weight)"),
        ({"images": X}, "contains no array labels"),
        ((X, "y"), "must be pairs of tensors"),
        ((X, Y, T), "must be pairs of tensors"),
        ((X, Own()), "contains Python objects other than tensors, which are never loaded"),
        (torch.utils.data.TensorDataset(X, Y), "contains Python objects other than tensors, which are never loaded"),
        ([[[[[[X]]]]]], "lists nested deeper than 4"),
        ({"train": (X, Y), "training": (X, Y)}, "expected images and labels"),
        ((X.to_sparse(), Y), "a tensor of kind"),
        ((X, Y[:-1]), "12 images, but 11 labels"),
    ],
)
def test_what_is_no_images_and_labels_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(save(tmp_path / "set.pt", value))


def test_a_pickle_that_names_one_list_a_million_times_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = [1] * 300
    monkeypatch.setattr(torch_save, "_MAX_VALUES", 20_000)
    with pytest.raises(DataError, match="more than 20,000 values"):
        read_source(save(tmp_path / "set.pt", ([[inner] * 300] * 300, Y)))
