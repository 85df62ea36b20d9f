"""The names of arrays in the `.npz` of others: Keras, MedMNIST, scikit-learn; labels in columns or one-hot."""

from pathlib import Path

import numpy as np
import pytest
from small_arrays import make_images, make_labels

from clf_runtime import ClfError
from clf_runtime.datasets.array_names import find_keys
from clf_runtime.datasets.source import as_labels
from clf_train.data.sources import read_source
from clf_train.errors import DataError

X, Y = make_images(), make_labels()
T, U = make_images(6, 1), make_labels(6)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("x_train y_train", None, "x_test y_test"),
        ("X_train y_train", "X_val y_val", "X_test y_test"),
        ("train_images train_labels", "val_images val_labels", "test_images test_labels"),
        ("train_data train_targets", "VALID_DATA VALID_TARGETS", "test_data test_targets"),
        ("images labels", None, "test_images test_labels"),
        ("xtrain ytrain", None, "xtest ytest"),
    ],
)
def test_parts_by_all_their_names(tmp_path: Path, train: str, validation: str | None, test: str) -> None:
    arrays = {**dict(zip(train.split(), (X, Y), strict=True)), **dict(zip(test.split(), (T, U), strict=True))}
    if validation:
        arrays.update(zip(validation.split(), (T[:3], U[:3, None]), strict=True))
    np.savez(tmp_path / "set.npz", **arrays)
    read = read_source(tmp_path / "set.npz")
    assert read.validation_images == (3 if validation else None)
    np.testing.assert_array_equal(read.train.images[:12], X)
    np.testing.assert_array_equal(read.test.images, T)
    np.testing.assert_array_equal(read.test.labels, U)


def test_scikit_learn_s_own_sets_have_their_images_twice(tmp_path: Path) -> None:
    grey = X[:, 0, :6, :6]
    arrays = {"data": grey.reshape(12, 36), "target": Y, "target_names": np.array(["a", "b", "c"])}
    about = {"feature_names": np.array(["x"]), "DESCR": np.array("of pixels"), "frame": np.array(None)}
    np.savez(tmp_path / "flat.npz", **arrays, **about)
    np.savez(tmp_path / "set.npz", images=grey, **arrays, **about)
    flat, read = read_source(tmp_path / "flat.npz"), read_source(tmp_path / "set.npz")
    assert flat.fingerprint == read.fingerprint
    assert read.names == flat.names == ("a", "b", "c")
    assert "images of 36 values are read as 6x6 greys" in flat.notes[0]
    assert "6x6" not in read.notes[0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("x_train", r"no array y_train \(arrays: x_train\)"),
        ("target", r"no array data"),
        ("images labels imgs", "contains images and imgs, which mean the same"),
        ("x X y", "contains X and x, which mean the same"),
        ("images labels train_images", "contains images and train_images, which mean the same"),
        ("x y names classes", "contains classes and names"),
        ("x y weights", "contains an unknown array weights"),
        ("train_x_test y", "contains an unknown array train_x_test"),
        ("DESCR", "contains no array images"),
    ],
)
def test_names_that_leave_a_doubt_are_refused(names: str, message: str) -> None:
    with pytest.raises(ClfError, match=message):
        find_keys(names.split(), "f")


def test_labels_may_be_rows_with_a_single_one(tmp_path: Path) -> None:
    one_hot = np.eye(3)[Y]
    for dtype in (np.float32, np.uint8, bool):
        np.testing.assert_array_equal(as_labels(one_hot.astype(dtype), "f"), Y)
    for wrong in (one_hot * 2, np.ones((3, 2)), np.zeros((3, 2)), one_hot - one_hot[::-1] / 4, np.full((2, 2), np.nan)):
        with pytest.raises(ClfError, match="not one-hot; expected one number per image"):
            as_labels(wrong, "f")
    np.savez(tmp_path / "set.npz", x=X, y=one_hot)
    read = read_source(tmp_path / "set.npz")
    assert len(read.train) + len(read.test) == 12


def test_two_files_of_one_part_are_refused(tmp_path: Path) -> None:
    for name in ("val.npz", "valid.npz", "train.npz"):
        np.savez(tmp_path / name, x=X, y=Y)
    with pytest.raises(DataError, match=r"both val\.npz and valid\.npz; keep one of them"):
        read_source(tmp_path)
