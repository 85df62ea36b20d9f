"""read_source: the layout is told by looking, words are sources too, and class names come from where they should."""

import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clf_train.errors import DataError, TrainError
from clf_train.sources import cifar10, digits, folders, npz, read_source, tensors

COUNT, CLASSES = 6, 3
LAYOUTS = {"tensors": tensors, "npz": npz, "cifar10": cifar10, "folders": folders}
DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def make_images(count: int = COUNT) -> np.ndarray:
    """uint8 [count, 3, 32, 32], the size that every layout can hold."""
    return np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def make_labels(count: int = COUNT) -> np.ndarray:
    return np.arange(count) % CLASSES


def write_tensors(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for split in ("train", "test"):
        torch.save(torch.from_numpy(make_images()), folder / f"{split}_data_2")
        torch.save(torch.from_numpy(make_labels()), folder / f"{split}_labels_2")
    return folder


def write_npz_file(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "set.npz", images=make_images(), labels=make_labels(), names=np.array(["a", "b", "c"]))
    return folder / "set.npz"


def write_npz_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for split in ("train", "test"):
        np.savez(folder / f"{split}.npz", images=make_images(), labels=make_labels(), names=np.array(["a", "b", "c"]))
    return folder


def write_cifar10_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    batch = b"".join(bytes([i % CLASSES]) + image.tobytes() for i, image in enumerate(make_images()))
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / f"{name}.bin").write_bytes(batch)
    (folder / "batches.meta.txt").write_text("a\nb\nc\n")
    return folder


def write_cifar10_archive(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    inner = write_cifar10_folder(folder / "cifar-10-batches-bin")
    with tarfile.open(folder / "set.tar.gz", "w:gz") as archive:
        archive.add(inner, inner.name)
    return folder / "set.tar.gz"


def write_pictures(folder: Path) -> Path:
    """Class folders a, b and c under train/ and test/."""
    for i, (image, label) in enumerate(zip(make_images(), make_labels(), strict=True)):
        for split in ("train", "test"):
            file = folder / split / "abc"[label] / f"{i:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)
    return folder


def write_class_folders(folder: Path) -> Path:
    return write_pictures(folder) / "train"


WRITERS: dict[str, tuple[Callable[[Path], Path], str, str]] = {  # writer, module that reads it, its layout for people
    "tensors": (write_tensors, "tensors", "tensors of torch.save"),
    "npz file": (write_npz_file, "npz", "npz arrays"),
    "npz folder": (write_npz_folder, "npz", "npz arrays"),
    "cifar10 folder": (write_cifar10_folder, "cifar10", "CIFAR-10, binary version"),
    "cifar10 archive": (write_cifar10_archive, "cifar10", "CIFAR-10, binary version"),
    "train and test folders": (write_pictures, "folders", "class-named folders"),
    "class folders": (write_class_folders, "folders", "class-named folders"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_layout_is_told_by_looking_at_the_files(tmp_path: Path, kind: str) -> None:
    write, module, layout = WRITERS[kind]
    source = write(tmp_path / "some name")
    assert [name for name, reader in LAYOUTS.items() if reader.recognises(source)] == [module]
    read = read_source(source)
    assert read.layout == layout
    assert read.source == str(source)
    assert (read.dtype, read.image_shape) == ("uint8", (3, 32, 32))
    assert read.names == (("0", "1", "2") if kind == "tensors" else ("a", "b", "c"))


@pytest.mark.parametrize("kind", ["tensors", "npz folder"])
def test_the_same_values_in_another_layout_have_the_same_fingerprint(tmp_path: Path, kind: str) -> None:
    made = read_source(WRITERS[kind][0](tmp_path / kind)).fingerprint
    assert made == read_source(write_tensors(tmp_path / "tensors")).fingerprint


@pytest.mark.parametrize("kind", WRITERS)
def test_a_source_is_given_as_a_path_or_as_text_and_relative_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = WRITERS[kind][0](tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    relative = source.relative_to(tmp_path)
    ways = (source, str(source), relative, str(relative), f"./{relative}", f"set/../{relative}")
    given = [read_source(way) for way in ways]
    assert {(read.source, read.fingerprint) for read in given} == {(str(source), given[0].fingerprint)}


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tensors(tmp_path / "set")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_source("~/set").source == str(tmp_path / "set")


def test_a_link_is_followed_and_the_source_is_where_it_leads(tmp_path: Path) -> None:
    write_tensors(tmp_path / "set")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    assert read_source(tmp_path / "link").source == str(tmp_path / "set")


# What is no source


@pytest.mark.parametrize("name", ["nowhere", "no/where", "cifar-10", "Digits", "digits ", "x" * 200])
def test_a_path_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=f"^{re.escape(name)}: no such file or folder \\(the words are digits and cifar10\\)$"
    ):
        read_source(name)


def test_a_path_too_long_for_the_system_is_an_error_like_others() -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_source("x" * 5000)


@pytest.mark.parametrize("files", [(), ("notes.txt",), ("a.png", "b.png"), ("sub/notes.txt",), ("README.md",)], ids=str)
def test_a_folder_of_no_known_layout_is_told_what_is_known(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}: no layout that is known; known are: ")) as caught:
        read_source(tmp_path)
    for word in ("train_data_2", "class-named folders", "CIFAR-10", ".npz", "digits"):
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["set.csv", "set.png", "set.npy", "train_data_2", "set.zip", "noname"])
def test_a_file_of_no_known_layout_is_told_what_is_known(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1,2,3\n" * 50)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: no layout that is known")):
        read_source(tmp_path / name)


def test_a_data_error_is_a_value_error_of_this_package() -> None:
    assert issubclass(DataError, TrainError)
    assert issubclass(DataError, ValueError)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_what_the_system_refuses_is_told_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    source = write_cifar10_folder(tmp_path / "set")
    error.filename = str(source / "data_batch_1.bin")

    def refuse(_: Path) -> bytes:
        raise error

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=rf"data_batch_1\.bin: cannot be read: {error.strerror}"):
        read_source(source)


def test_a_source_that_does_not_fit_into_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_cifar10_folder(tmp_path / "set")

    def refuse(_: Path) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=re.escape(f"{source}: does not fit into memory")):
        read_source(source)


# Words


def test_the_word_digits_is_the_embedded_source_whatever_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tensors(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    read = read_source("digits")
    assert (read.source, read.layout) == ("digits", "scikit-learn's digits")
    assert len(read.train) + len(read.test) == 1797


@pytest.mark.parametrize("word", ["digits", "cifar10"])
@pytest.mark.parametrize("form", [lambda word: f"./{word}", Path], ids=["text", "path"])
def test_a_folder_that_is_named_like_a_word_is_given_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, form: Callable[[str], str | Path]
) -> None:
    def refuse() -> None:
        pytest.fail("the word was taken")

    monkeypatch.setattr(digits, "read", refuse)
    monkeypatch.setattr(cifar10, "download_and_read", refuse)
    write_tensors(tmp_path / word)
    monkeypatch.chdir(tmp_path)
    read = read_source(form(word))
    assert (read.source, read.layout) == (str(tmp_path / word), "tensors of torch.save")


@pytest.mark.parametrize("word", ["./digits", "digits/", "/digits"])
def test_a_path_whose_last_part_is_a_word_is_no_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        read_source(word)


# Class names


@pytest.mark.parametrize("kind", WRITERS)
def test_names_that_are_given_go_before_those_of_the_source(tmp_path: Path, kind: str) -> None:
    assert read_source(WRITERS[kind][0](tmp_path / "set"), names="x,y,z").names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("x,y,z", ("x", "y", "z")),
        (" x , y,z ", ("x", "y", "z")),
        ("polar bear,été,猫", ("polar bear", "été", "猫")),
        ("0,1,2", ("0", "1", "2")),
        ("a,A,á", ("a", "A", "á")),
    ],
)
def test_names_with_commas_between_are_a_list(tmp_path: Path, names: str, wanted: tuple[str, ...]) -> None:
    assert read_source(write_tensors(tmp_path), names=names).names == wanted


NAME_FILES = {
    "one a line": b"x\ny\nz\n",
    "without the last line end": b"x\ny\nz",
    "blank lines at the end": b"x\ny\nz\n\n \n",
    "line ends of Windows": b"x\r\ny\r\nz\r\n",
    "a byte order mark": b"\xef\xbb\xbfx\ny\nz\n",
    "blanks around": b"  x\ny\t\n z \n",
}


@pytest.mark.parametrize("case", NAME_FILES)
def test_names_are_read_from_a_file(tmp_path: Path, case: str) -> None:
    (tmp_path / "my names").write_bytes(NAME_FILES[case])
    read = read_source(write_tensors(tmp_path / "set"), names=str(tmp_path / "my names"))
    assert read.names == ("x", "y", "z")


def test_names_in_a_file_may_hold_commas_and_any_script(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("cat, small\nété\n猫\n", "utf-8")
    read = read_source(write_tensors(tmp_path / "set"), names=str(tmp_path / "names"))
    assert read.names == ("cat, small", "été", "猫")


def test_a_file_that_is_named_like_a_list_is_taken_as_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a,b,c").write_text("x\ny\nz\n")
    monkeypatch.chdir(tmp_path)
    assert read_source(write_tensors(tmp_path / "set"), names="a,b,c").names == ("x", "y", "z")


@pytest.mark.parametrize("case", NAME_FILES)
def test_names_txt_in_the_folder_names_the_classes(tmp_path: Path, case: str) -> None:
    folder = write_tensors(tmp_path)
    (folder / "names.txt").write_bytes(NAME_FILES[case])
    assert read_source(folder).names == ("x", "y", "z")


@pytest.mark.parametrize("kind", ["npz folder", "cifar10 folder", "train and test folders"])
def test_the_names_of_the_source_go_before_names_txt_and_given_ones_before_both(tmp_path: Path, kind: str) -> None:
    folder = WRITERS[kind][0](tmp_path / "set")
    own = read_source(folder).names
    (folder / "names.txt").write_text("x\ny\nz\n")
    assert read_source(folder).names == own != ("x", "y", "z")
    assert read_source(folder, names="p,q,r").names == ("p", "q", "r")


def test_given_names_make_a_broken_names_txt_of_no_account(tmp_path: Path) -> None:
    folder = write_tensors(tmp_path)
    (folder / "names.txt").write_bytes(b"\xff\xfe")
    assert read_source(folder, names="x,y,z").names == ("x", "y", "z")


def test_names_go_with_a_word_too() -> None:
    assert read_source("digits", names=",".join(DIGIT_NAMES)).names == DIGIT_NAMES


WRONG_NAMES: dict[str, tuple[str, str]] = {
    "too few": ("x,y", "labels go up to 2, but there are 2 class names"),
    "too many": ("w,x,y,z", r"class 3 \(z\) has no training images"),
    "one twice": ("x,y,x", "the class name 'x' is there twice"),
    "one twice but for blanks": ("x,y, x", "the class name 'x' is there twice"),
    "an empty one": ("x,,z", "class name 1 is empty"),
    "a blank one": ("x, ,z", "class name 1 is empty"),
    "an empty first one": (",y,z", "class name 0 is empty"),
    "an empty last one": ("x,y,z,", "class name 3 is empty"),
}


@pytest.mark.parametrize("kind", ["tensors", "npz file", "train and test folders"])
@pytest.mark.parametrize("case", WRONG_NAMES)
def test_a_list_of_names_that_does_not_fit_is_refused(tmp_path: Path, case: str, kind: str) -> None:
    names, message = WRONG_NAMES[case]
    with pytest.raises(DataError, match=message):
        read_source(WRITERS[kind][0](tmp_path / "set"), names=names)


@pytest.mark.parametrize("where", ["names.txt", "a file that is given"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x\ny\n", "labels go up to 2, but there are 2 class names"),
        (b"w\nx\ny\nz\n", r"class 3 \(z\) has no training images"),
        (b"x\ny\nx\n", "names.txt: the class name 'x' is there twice"),
        (b"x\n\nz\n", "names.txt: class name 1 is empty"),
        (b"\nx\ny\nz\n", "names.txt: class name 0 is empty"),
        (b"caf\xe9\ny\nz\n", "names.txt: class names must be text in UTF-8"),
        (b"\xff\xfex\0\n\0", "names.txt: class names must be text in UTF-8"),
    ],
    ids=["too few", "too many", "twice", "empty line", "empty first line", "latin1", "UTF-16"],
)
def test_a_file_of_names_that_does_not_fit_is_refused(tmp_path: Path, content: bytes, message: str, where: str) -> None:
    folder = write_tensors(tmp_path / "set")
    file = (folder if where == "names.txt" else tmp_path) / "names.txt"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_source(folder, names=None if where == "names.txt" else str(file))


@pytest.mark.parametrize("names", ["nowhere.txt", "", " ", "x", "no/such/file"])
def test_names_that_are_neither_a_file_nor_a_list_are_told_what_is_wanted(tmp_path: Path, names: str) -> None:
    with pytest.raises(DataError, match=f"^--names {names}: no such file; give a file with one name a line, or names"):
        read_source(write_tensors(tmp_path), names=names)


def test_a_folder_in_place_of_a_file_of_names_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; give a file"):
        read_source(write_tensors(tmp_path / "set"), names=str(tmp_path))


def test_wrong_names_are_told_before_the_source_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the class name 'x' is there twice"):
        read_source(tmp_path / "nowhere", names="x,x")


@pytest.mark.parametrize("kind", WRITERS)
def test_reading_changes_nothing_in_the_source(tmp_path: Path, kind: str) -> None:
    source = WRITERS[kind][0](tmp_path / "set")
    before = {path: (os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in tmp_path.rglob("*")}
    read_source(source)
    assert {path: (os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in tmp_path.rglob("*")} == before
