"""Class names are given, or come from the source or from names.txt, in this order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clf_train.data.sources import read_source
from clf_train.errors import DataError

Write = Callable[[str, Path], Path]
DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
KINDS = (
    "tensors",
    "npz file",
    "npz folder",
    "cifar10 folder",
    "cifar10 archive",
    "train and test folders",
    "class folders",
)


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_are_given_go_before_those_of_the_source(tmp_path: Path, write_source: Write, kind: str) -> None:
    assert read_source(write_source(kind, tmp_path / "set"), names="x,y,z").names == ("x", "y", "z")


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
def test_names_with_commas_between_are_a_list(
    tmp_path: Path, write_source: Write, names: str, wanted: tuple[str, ...]
) -> None:
    assert read_source(write_source("tensors", tmp_path), names=names).names == wanted


NAME_FILES = {
    "one a line": b"x\ny\nz\n",
    "without the last line end": b"x\ny\nz",
    "blank lines at the end": b"x\ny\nz\n\n \n",
    "line ends of Windows": b"x\r\ny\r\nz\r\n",
    "a byte order mark": b"\xef\xbb\xbfx\ny\nz\n",
    "blanks around": b"  x\ny\t\n z \n",
}


@pytest.mark.parametrize("case", NAME_FILES)
def test_names_are_read_from_a_file(tmp_path: Path, write_source: Write, case: str) -> None:
    (tmp_path / "my names").write_bytes(NAME_FILES[case])
    read = read_source(write_source("tensors", tmp_path / "set"), names=str(tmp_path / "my names"))
    assert read.names == ("x", "y", "z")


def test_names_in_a_file_may_hold_commas_and_any_script(tmp_path: Path, write_source: Write) -> None:
    (tmp_path / "names").write_text("cat, small\nété\n猫\n", "utf-8")
    read = read_source(write_source("tensors", tmp_path / "set"), names=str(tmp_path / "names"))
    assert read.names == ("cat, small", "été", "猫")


def test_a_file_that_is_named_like_a_list_is_taken_as_the_file(
    tmp_path: Path, write_source: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a,b,c").write_text("x\ny\nz\n")
    monkeypatch.chdir(tmp_path)
    assert read_source(write_source("tensors", tmp_path / "set"), names="a,b,c").names == ("x", "y", "z")


@pytest.mark.parametrize("case", NAME_FILES)
def test_names_txt_in_the_folder_names_the_classes(tmp_path: Path, write_source: Write, case: str) -> None:
    folder = write_source("tensors", tmp_path)
    (folder / "names.txt").write_bytes(NAME_FILES[case])
    assert read_source(folder).names == ("x", "y", "z")


@pytest.mark.parametrize("kind", ["npz folder", "cifar10 folder", "train and test folders"])
def test_the_names_of_the_source_go_before_names_txt_and_given_ones_before_both(
    tmp_path: Path, write_source: Write, kind: str
) -> None:
    folder = write_source(kind, tmp_path / "set")
    own = read_source(folder).names
    (folder / "names.txt").write_text("x\ny\nz\n")
    assert read_source(folder).names == own != ("x", "y", "z")
    assert read_source(folder, names="p,q,r").names == ("p", "q", "r")


def test_given_names_make_a_broken_names_txt_of_no_account(tmp_path: Path, write_source: Write) -> None:
    folder = write_source("tensors", tmp_path)
    (folder / "names.txt").write_bytes(b"\xff\xfe")
    assert read_source(folder, names="x,y,z").names == ("x", "y", "z")


def test_names_go_with_a_word_too() -> None:
    assert read_source("digits", names=",".join(DIGIT_NAMES)).names == DIGIT_NAMES


WRONG_NAMES: dict[str, tuple[str, str]] = {
    "too few": ("x,y", "labels go up to 2, but there are 2 class names"),
    "too many": ("w,x,y,z", r"class 3 \(z\) has no training images"),
    "one twice": ("x,y,x", "duplicate class name 'x'"),
    "one twice but for blanks": ("x,y, x", "duplicate class name 'x'"),
    "an empty one": ("x,,z", "class name 1 is empty"),
    "a blank one": ("x, ,z", "class name 1 is empty"),
    "an empty first one": (",y,z", "class name 0 is empty"),
    "an empty last one": ("x,y,z,", "class name 3 is empty"),
}


@pytest.mark.parametrize("kind", ["tensors", "npz file", "train and test folders"])
@pytest.mark.parametrize("case", WRONG_NAMES)
def test_a_list_of_names_that_does_not_fit_is_refused(
    tmp_path: Path, write_source: Write, case: str, kind: str
) -> None:
    names, message = WRONG_NAMES[case]
    with pytest.raises(DataError, match=message):
        read_source(write_source(kind, tmp_path / "set"), names=names)


@pytest.mark.parametrize("where", ["names.txt", "a file that is given"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x\ny\n", "labels go up to 2, but there are 2 class names"),
        (b"w\nx\ny\nz\n", r"class 3 \(z\) has no training images"),
        (b"x\ny\nx\n", "names.txt: duplicate class name 'x'"),
        (b"x\n\nz\n", "names.txt: class name 1 is empty"),
        (b"\nx\ny\nz\n", "names.txt: class name 0 is empty"),
        (b"caf\xe9\ny\nz\n", "names.txt: class names must be text in UTF-8"),
        (b"\xff\xfex\0\n\0", "names.txt: class names must be text in UTF-8"),
    ],
    ids=["too few", "too many", "twice", "empty line", "empty first line", "latin1", "UTF-16"],
)
def test_a_file_of_names_that_does_not_fit_is_refused(
    tmp_path: Path, write_source: Write, content: bytes, message: str, where: str
) -> None:
    folder = write_source("tensors", tmp_path / "set")
    file = (folder if where == "names.txt" else tmp_path) / "names.txt"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_source(folder, names=None if where == "names.txt" else str(file))


@pytest.mark.parametrize("names", ["nowhere.txt", "", " ", "x", "no/such/file"])
def test_names_that_are_neither_a_file_nor_a_list_are_told_what_is_wanted(
    tmp_path: Path, write_source: Write, names: str
) -> None:
    with pytest.raises(DataError, match=f"^--names {names}: no such file; pass a file with one name per line"):
        read_source(write_source("tensors", tmp_path), names=names)


def test_a_folder_in_place_of_a_file_of_names_is_told(tmp_path: Path, write_source: Write) -> None:
    with pytest.raises(DataError, match="no such file; pass a file"):
        read_source(write_source("tensors", tmp_path / "set"), names=str(tmp_path))


def test_wrong_names_are_told_before_the_source_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="duplicate class name 'x'"):
        read_source(tmp_path / "nowhere", names="x,x")


def test_a_long_list_of_names(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (80, 3, 8, 6), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(80) % 40)
    names = ",".join(f"a_long_name_{i}" for i in range(40))
    assert len(read_source(tmp_path / "a.npz", names=names).names) == 40


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("given", [True, False])
def test_an_empty_file_of_names(tmp_path: Path, write_source: Write, content: bytes, given: bool) -> None:
    (write_source("tensors", tmp_path) / "names.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"names.txt"):
        read_source(tmp_path, names=str(tmp_path / "names.txt") if given else None)


def test_a_class_is_not_given_the_name_of_another(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"{name}/{i}.png" for name in ("cat", "dog", "owl") for i in range(3)))
    assert read_source(tmp_path, names="Katze,dog,Eule").names == ("Katze", "dog", "Eule")
    with pytest.raises(DataError, match=r"--names calls the class 'cat' 'dog', .* of the source: cat, dog, owl$"):
        read_source(tmp_path, names="dog,cat,owl")
