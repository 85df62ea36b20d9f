"""Class-named folders of pictures: which folders are which part, and which names are no class or picture."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clf_runtime.datasets import folders
from clf_runtime.datasets.order import as_people_count
from clf_train.data.preparation import validation_rows
from clf_train.data.sources import read_source
from clf_train.errors import DataError
from clf_train.models.registry import find_recipe

Write = Callable[..., Path]
HEIGHT, WIDTH = 8, 6
SIX = [f"{part}/{name}" for part in ("train/cat", "train/dog", "test/cat") for name in ("1.png", "2.png")]


def make_picture(seed: int = 0) -> Image.Image:
    """An RGB picture of noise, WIDTH x HEIGHT."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def planes(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).transpose(2, 0, 1)


def test_train_and_test_folders_become_the_parts_with_the_classes_in_sorted_order(
    tmp_path: Path, write_pictures: Write
) -> None:
    write_pictures(
        tmp_path, "train/dog/2.png", "train/dog/10.png", "train/cat/x.png", "test/dog/1.png", "test/cat/1.png"
    )
    assert folders.recognises(tmp_path)
    read = read_source(tmp_path)
    assert read.layout == "class-named folders"
    assert read.names == ("cat", "dog")
    assert read.train.labels.tolist() == [0, 1, 1]
    assert read.test.labels.tolist() == [0, 1]
    assert read.train.images.dtype == np.uint8
    assert read.image_shape == (3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(read.train.images[0], planes(make_picture(2)))  # train/cat/x.png
    np.testing.assert_array_equal(read.train.images[1], planes(make_picture(1)))  # train/dog/10.png, before 2.png
    np.testing.assert_array_equal(read.train.images[2], planes(make_picture(0)))
    np.testing.assert_array_equal(read.test.images[1], planes(make_picture(3)))
    assert read.notes == ()


def test_train_alone_has_a_part_held_out(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"train/{name}/{i}.png" for name in ("cat", "dog") for i in range(5)))
    read = read_source(tmp_path)
    assert np.bincount(read.train.labels).tolist() == [4, 4]
    assert np.bincount(read.test.labels).tolist() == [1, 1]
    assert "2 of 10 images are held out" in read.notes[0]


def test_class_folders_alone_have_a_part_held_out(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{name}/{i}.png" for name in ("cat", "dog", "owl") for i in range(5)))
    read = read_source(tmp_path)
    assert read.names == ("cat", "dog", "owl")
    assert (len(read.train), len(read.test)) == (12, 3)
    assert "3 of 15 images are held out" in read.notes[0]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_stands_in_for_test(tmp_path: Path, write_pictures: Write, name: str) -> None:
    write_pictures(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{name}/dog/1.png")
    read = read_source(tmp_path)
    assert read.test.labels.tolist() == [1]
    np.testing.assert_array_equal(read.test.images[0], planes(make_picture(2)))
    assert read.notes == ("the test part has no images of cat",)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "VALID", "Testing")])
def test_beside_a_test_folder_a_validation_folder_is_held_out_in_place_of_a_share(
    tmp_path: Path, write_pictures: Write, names: tuple[str, str, str]
) -> None:
    train, val, test = names
    files = [f"{part}/{c}/{i}.png" for part, n in ((train, 4), (val, 2), (test, 1)) for c in "ab" for i in range(n)]
    write_pictures(tmp_path, *files)
    read = read_source(tmp_path)
    assert (len(read.train), read.validation_images, len(read.test)) == (12, 4, 2)
    assert read.notes == ("the 4 images of the validation part are held out, in place of a share",)
    for recipe in (find_recipe("fast", "conv"), find_recipe("seed", "conv")):
        rows = validation_rows(read, recipe, seed=0)
        assert rows is not None
        assert rows.tolist() == [8, 9, 10, 11]
        assert read.train.labels[rows].tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(read.train.images[8], planes(make_picture(files.index(f"{val}/a/0.png"))))


def test_two_folders_of_one_part_are_refused(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX, "Testing/cat/1.png")
    with pytest.raises(DataError, match=r"both Testing/ and test/; keep one of them"):
        read_source(tmp_path)


def test_a_validation_class_that_was_not_trained_is_named(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX, "val/owl/1.png")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'val' / 'owl'}: a class without training images")):
        read_source(tmp_path)


def test_names_of_classes_sort_as_people_count(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{name}/{i}.png" for name in ("10", "9", "1", "a2", "a10", "09") for i in range(2)))
    assert read_source(tmp_path).names == ("1", "09", "9", "10", "a2", "a10")
    assert read_source(tmp_path, as_before=True).names == ("09", "1", "10", "9", "a10", "a2")
    assert as_people_count(["7" * 9000, "x", "6" * 9000]) == ["6" * 9000, "7" * 9000, "x"]


def test_a_folder_whose_pictures_are_all_of_one_kind_and_upper_case_is_recognised(
    tmp_path: Path, write_pictures: Write
) -> None:
    write_pictures(tmp_path, *(f"{name}/{i}.JPG" for name in ("cat", "dog") for i in range(2)))
    assert folders.recognises(tmp_path)


STRAY = {  # what is written: what is named
    "notes.txt": "notes.txt",
    "val.csv": "val.csv",
    "train/labels.csv": "train/labels.csv",
    "train/1.png": "train/1.png",
    "train/cat/notes.txt": "train/cat/notes.txt",
    "train/cat/1.mp4": "train/cat/1.mp4",
    "train/cat/no suffix": "train/cat/no suffix",
    "train/cat/more/1.png": "train/cat/more",
    "train/cat/more.png/1.png": "train/cat/more.png",
    "test/1.png": "test/1.png",
    "test/dog/clip.mp4": "test/dog/clip.mp4",
    "extra/cat/1.png": "extra",
}


@pytest.mark.parametrize("name", STRAY)
def test_a_stray_file_or_folder_is_refused_by_name(tmp_path: Path, write_pictures: Write, name: str) -> None:
    write_pictures(tmp_path, *SIX)
    write_pictures(tmp_path, name, content=b"no picture")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / STRAY[name]}: ") + ".*; remove it"):
        read_source(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "1.png", "cat/notes.txt"])
def test_a_stray_file_beside_class_folders_is_refused_by_name(tmp_path: Path, write_pictures: Write, name: str) -> None:
    write_pictures(tmp_path, *(f"{label}/{i}.png" for label in ("cat", "dog") for i in range(3)))
    write_pictures(tmp_path, name, content=b"no picture")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: ") + ".*; remove it"):
        read_source(tmp_path)


def test_a_picture_is_told_by_its_content_where_its_name_says_nothing(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{name}/{i}" for name in ("cat", "dog") for i in range(3)), "dog/x.jfif")
    read = read_source(tmp_path)
    assert len(read.train) + len(read.test) == 7


UNSEEN = (
    ".DS_Store",
    "train/.hidden",
    "train/cat/._1.png",
    "train/.cache/1.png",
    "train/.ipynb_checkpoints/1.png",
    "train/cat/.thumb/1.png",
    "test/.x.png",
    "train/cat/Thumbs.db",
    "train/desktop.ini",
    "train/@eaDir/1.png",
    "__MACOSX/train/cat/._1.png",
    "README.md",
    "LICENSE",
    "train/readme.txt",
    "test/cat/readme",
)


@pytest.mark.parametrize("name", UNSEEN)
def test_hidden_files_and_those_that_describe_the_data_are_left_out_and_it_is_said(
    tmp_path: Path, write_pictures: Write, name: str
) -> None:
    write_pictures(tmp_path, *SIX)
    write_pictures(tmp_path, name, content=b"no picture")
    read = read_source(tmp_path)
    assert (len(read.train), len(read.test)) == (4, 2)
    assert read.names == ("cat", "dog")
    left = next(part for part in Path(name).parts if part not in ("train", "test", "cat"))
    assert f"skipped, since they are not images: 1 file or folder ({left})" in read.notes[0]


def test_an_empty_class_folder_is_left_out_and_said(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX)
    for folder in ("train/cow", "test/cow"):
        (tmp_path / folder).mkdir()
    write_pictures(tmp_path, "train/cow/.DS_Store", content=b"")
    read = read_source(tmp_path)
    assert read.names == ("cat", "dog")
    assert read.notes[0] == f"skipped, since they are empty: {tmp_path / 'train' / 'cow'}"


def test_an_empty_class_folder_whose_class_is_tested_is_an_error(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX, "test/cow/1.png")
    (tmp_path / "train" / "cow").mkdir()
    with pytest.raises(DataError, match=r"test/cow: a class without training images"):
        read_source(tmp_path)


def test_an_empty_test_class_is_a_note(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX)
    (tmp_path / "test" / "dog").mkdir()
    assert read_source(tmp_path).notes == ("the test part has no images of dog",)


@pytest.mark.parametrize("classes", [(), ("cat",), ("cat", "dog")], ids=["no class", "one class", "both classes"])
def test_a_test_folder_without_any_picture_is_refused(
    tmp_path: Path, write_pictures: Write, classes: tuple[str, ...]
) -> None:
    write_pictures(tmp_path, "train/cat/1.png", "train/dog/1.png")
    for folder in ("", *classes):
        (tmp_path / "test" / folder).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'test'}: no pictures")):
        read_source(tmp_path)


def test_training_folders_without_any_picture_train_nothing(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "test/cat/1.png", "test/dog/1.png")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="contains only a test part, no training images"):
        read_source(tmp_path)


def test_a_test_class_that_was_not_trained_is_named(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX, "test/owl/1.png")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'test' / 'owl'}: a class without training images")):
        read_source(tmp_path)


def test_the_case_of_a_class_name_counts(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX, "test/Cat/1.png")
    with pytest.raises(DataError, match=r"test/Cat: a class without training images"):
        read_source(tmp_path)


def test_a_single_class_is_refused(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"train/cat/{i}.png" for i in range(4)))
    with pytest.raises(DataError, match="all images are of one class"):
        read_source(tmp_path)


def test_class_names_of_any_script_and_with_blanks_are_kept(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "train/été/1.png", "train/polar bear/1.png", "train/猫/1.png", "test/猫/1.png")
    assert read_source(tmp_path).names == ("polar bear", "été", "猫")


def test_linked_pictures_and_class_folders_are_read_like_others(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path / "elsewhere", "cat/1.png", "one.png")
    write_pictures(tmp_path / "set", "train/dog/1.png", "test/dog/1.png")
    (tmp_path / "set/train/cat").symlink_to(tmp_path / "elsewhere/cat")
    (tmp_path / "set/train/dog/2.png").symlink_to(tmp_path / "elsewhere/one.png")
    read = read_source(tmp_path / "set")
    assert read.train.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(read.train.images[2], planes(make_picture(1)))


def test_a_dangling_link_is_named(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *SIX)
    (tmp_path / "train/cat/lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"train/cat/lost\.png: "):
        read_source(tmp_path)


def test_a_class_named_license_is_read_or_refused(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "license/0.png", "license/1.png")
    with contextlib.suppress(DataError):
        assert read_source(tmp_path).names == ("a", "b", "license")


def test_a_picture_named_readme_is_read_or_refused(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "a/readme.png")
    with contextlib.suppress(DataError):
        made = read_source(tmp_path)
        assert len(made.train) + len(made.test) == 5


def test_a_class_named_train(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{name}/{i}.png" for name in ("bus", "train") for i in range(2)))
    assert read_source(tmp_path).names == ("bus", "train")


def test_a_folder_none_has_examples_of_what_is_no_class(tmp_path: Path, write_pictures: Write) -> None:
    some = [f"train/{name}/{i}.png" for name in ("cat", "dog", "none") for i in range(3)]
    write_pictures(tmp_path, *some, "test/cat/1.png", "test/none/1.png")
    read = read_source(tmp_path)
    assert (read.names, len(read.train), len(read.test), read.outliers) == (("cat", "dog"), 6, 1, None)
    assert "examples of what is no class" in " ".join(read.notes)
    given = read_source(tmp_path, outliers=True)
    assert given.fingerprint == read.fingerprint
    assert given.outliers is not None
    np.testing.assert_array_equal(given.outliers[0], planes(make_picture(6)))
    assert len(given.outliers) == 3
    assert read_source(tmp_path, none_is_class=True).names == ("cat", "dog", "none")


@pytest.mark.parametrize("train", [("cat", "dog", "none"), ("cat", "dog")])
def test_examples_of_no_class_among_test_images_are_said_not_to_be_used(
    tmp_path: Path, write_pictures: Write, train: tuple[str, ...]
) -> None:
    write_pictures(tmp_path, *(f"train/{name}/{i}.png" for name in train for i in range(3)))
    write_pictures(tmp_path, *(f"{part}/{name}/1.png" for part in ("val", "test") for name in ("cat", "none")))
    said = [note for note in read_source(tmp_path, outliers=True).notes if "not used" in note]
    for part, note in zip(("val", "test"), said, strict=True):
        assert note.startswith(f"{tmp_path / part / 'none'}: not used: ")
        assert f"are read from {tmp_path / 'train' / 'none'} alone" in note


def test_what_is_wrong_with_a_folder_none_is_said_before_the_training(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{name}/{i}.png" for name in ("cat", "dog", "none") for i in range(5)))
    for name in ("bad.png", "worse.png"):
        (tmp_path / "none" / name).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none: 2 pictures cannot be decoded: .*bad\.png, .*worse\.png .*--skip-bad"):
        read_source(tmp_path)
    read = read_source(tmp_path, skip_bad=True)
    assert [Path(picture).name for picture in read.skipped] == [
        "bad.png",
        "worse.png",
    ]  # so that the export skips it too
    assert read.outliers is None
    (tmp_path / "none" / "notes.dat").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none.notes\.dat: not a picture"):
        read_source(tmp_path, skip_bad=True)


def test_none_is_a_class_beside_a_single_other(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"train/{name}/{i}.png" for name in ("cat", "none") for i in range(5)))
    read = read_source(tmp_path, outliers=True)
    assert (read.names, read.outliers) == (("cat", "none"), None)
