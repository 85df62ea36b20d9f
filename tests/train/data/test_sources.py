"""read_source: the layout is told by looking, and words are sources too."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clf_runtime.datasets import cifar10 as runtime_cifar10
from clf_runtime.datasets import folders, layouts, npz, tensors
from clf_train.data import cifar10
from clf_train.data.sources import read_source
from clf_train.errors import DataError, TrainError

Write = Callable[[str, Path], Path]
LAYOUTS = {"tensors": tensors, "npz": npz, "cifar10": runtime_cifar10, "folders": folders}


KINDS: dict[str, tuple[str, str]] = {  # module that reads it, its layout for people
    "tensors": ("tensors", "tensors of torch.save"),
    "npz file": ("npz", "npz arrays"),
    "npz folder": ("npz", "npz arrays"),
    "cifar10 folder": ("cifar10", "CIFAR-10, binary version"),
    "cifar10 archive": ("cifar10", "CIFAR-10, binary version"),
    "train and test folders": ("folders", "class-named folders"),
    "class folders": ("folders", "class-named folders"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_layout_is_told_by_looking_at_the_files(tmp_path: Path, write_source: Write, kind: str) -> None:
    module, layout = KINDS[kind]
    source = write_source(kind, tmp_path / "some name")
    assert [name for name, reader in LAYOUTS.items() if reader.recognises(source)] == [module]
    read = read_source(source)
    assert read.layout == layout
    assert read.source == str(source)
    assert (read.dtype, read.image_shape) == ("uint8", (3, 32, 32))
    assert read.names == (("0", "1", "2") if kind == "tensors" else ("a", "b", "c"))


@pytest.mark.parametrize("kind", ["tensors", "npz folder"])
def test_the_same_values_in_another_layout_have_the_same_fingerprint(
    tmp_path: Path, write_source: Write, kind: str
) -> None:
    made = read_source(write_source(kind, tmp_path / kind)).fingerprint
    assert made == read_source(write_source("tensors", tmp_path / "tensors")).fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_given_as_a_path_or_as_text_and_relative_or_not(
    tmp_path: Path, write_source: Write, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = write_source(kind, tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    relative = source.relative_to(tmp_path)
    ways = (source, str(source), relative, str(relative), f"./{relative}", f"set/../{relative}")
    given = [read_source(way) for way in ways]
    assert {(read.source, read.fingerprint) for read in given} == {(str(source), given[0].fingerprint)}


def test_a_tilde_is_the_home_folder(tmp_path: Path, write_source: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write_source("tensors", tmp_path / "set")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_source("~/set").source == str(tmp_path / "set")


def test_a_link_is_followed_and_the_source_is_where_it_leads(tmp_path: Path, write_source: Write) -> None:
    write_source("tensors", tmp_path / "set")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    assert read_source(tmp_path / "link").source == str(tmp_path / "set")


@pytest.mark.parametrize("kind", KINDS)
def test_reading_changes_nothing_in_the_source(tmp_path: Path, write_source: Write, kind: str) -> None:
    source = write_source(kind, tmp_path / "set")
    before = {path: (os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in tmp_path.rglob("*")}
    read_source(source)
    assert {path: (os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in tmp_path.rglob("*")} == before


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
def test_a_folder_of_an_unknown_layout_is_told_what_was_found(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}: unknown layout (")) as caught:
        read_source(tmp_path)
    found = f"found {Path(files[0]).parts[0]}" if files else "the folder is empty"
    assert found in str(caught.value)
    assert str(caught.value).endswith("; see docs/sources.md")


@pytest.mark.parametrize("name", ["set.csv", "set.png", "set.npy", "train_data_2", "set.zip", "noname"])
def test_a_file_of_an_unknown_layout_is_told_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1,2,3\n" * 50)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: unknown layout")):
        read_source(tmp_path / name)


def test_a_data_error_is_a_value_error_of_this_package() -> None:
    assert issubclass(DataError, TrainError)
    assert issubclass(DataError, ValueError)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_what_the_system_refuses_is_told_with_the_file(
    tmp_path: Path, write_source: Write, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    source = write_source("cifar10 folder", tmp_path / "set")
    error.filename = str(source / "data_batch_1.bin")

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(runtime_cifar10, "open_regular", refuse)
    with pytest.raises(DataError, match=rf"data_batch_1\.bin: cannot be read: {error.strerror}"):
        read_source(source)


def test_a_source_that_does_not_fit_into_memory_is_told(
    tmp_path: Path, write_source: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source("cifar10 folder", tmp_path / "set")

    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(runtime_cifar10, "open_regular", refuse)
    with pytest.raises(DataError, match=re.escape(f"{source}: does not fit into memory")):
        read_source(source)


@pytest.mark.parametrize("name", ["~nosuchuser/x", "a\0b"])
def test_paths_that_cannot_be(name: str) -> None:
    with pytest.raises(DataError):
        read_source(name)


def test_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="loop"):
        read_source(tmp_path / "loop")


# Words


def test_the_word_digits_is_the_embedded_source_whatever_lies_here(
    tmp_path: Path, write_source: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source("tensors", tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    read = read_source("digits")
    assert (read.source, read.layout) == ("digits", "scikit-learn's digits")
    assert len(read.train) + len(read.test) == 1797


@pytest.mark.parametrize("word", ["digits", "cifar10"])
@pytest.mark.parametrize("form", [lambda word: f"./{word}", Path], ids=["text", "path"])
def test_a_folder_that_is_named_like_a_word_is_given_as_a_path(
    tmp_path: Path, write_source: Write, monkeypatch: pytest.MonkeyPatch, word: str, form: Callable[[str], str | Path]
) -> None:
    def refuse() -> Any:
        pytest.fail("the word was taken")

    monkeypatch.setitem(layouts.WORDS, "digits", refuse)
    monkeypatch.setattr(cifar10, "download", refuse)
    write_source("tensors", tmp_path / word)
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
