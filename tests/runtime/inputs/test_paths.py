import os

import pytest

from clf_runtime import ImageError
from clf_runtime.inputs import paths as inputs
from clf_runtime.inputs.paths import find_files


@pytest.fixture
def shots(tmp_path):
    for name in ("b.npy", "a.PNG", "c.jpeg", "d.jpg", "e.npz", "notes.txt", "[x].npy"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sub.npy").mkdir()
    (tmp_path / "sub.npy" / "deep.npy").write_bytes(b"")
    return tmp_path


def names(paths):
    return [os.path.basename(path) for path in paths]


def test_a_folder_stands_for_its_images_sorted_and_not_for_those_below(shots):
    assert names(find_files(shots)) == ["[x].npy", "a.PNG", "b.npy", "c.jpeg", "d.jpg", "e.npz"]


def test_a_pattern_stands_for_the_files_that_match(shots):
    assert names(find_files(f"{shots}/?.npy")) == ["b.npy"]
    assert names(find_files(f"{shots}/*.np[yz]")) == ["[x].npy", "b.npy", "e.npz"]
    assert names(find_files(f"{shots}/*/*.npy")) == ["deep.npy"]
    assert names(find_files(f"{shots}/n*")) == ["notes.txt"]


def test_what_exists_is_no_pattern_and_anything_else_is_itself(shots):
    assert names(find_files(shots / "[x].npy")) == ["[x].npy"]
    assert find_files("no/such.npy") == ["no/such.npy"]
    assert find_files("a*\0") == ["a*\0"]


def test_links_to_files_count_and_loops_do_not_hang(shots):
    (shots / "link.npy").symlink_to(shots / "b.npy")
    (shots / "loop").symlink_to(shots)
    (shots / "self.npy").symlink_to(shots / "self.npy")
    assert {"link.npy", "self.npy"} <= set(names(find_files(shots)))
    assert names(find_files(f"{shots}/**/deep.npy")) == ["deep.npy"]  # ** is no more than *


@pytest.mark.parametrize(("argument", "says"), [("sub", "contains no file that ends in"), ("*.gif", "no file matches")])
def test_nothing_is_an_error(tmp_path, argument, says):
    (tmp_path / "sub").mkdir()
    with pytest.raises(ImageError, match=says):
        find_files(tmp_path / argument)


def test_a_folder_of_folders_says_how_to_name_what_is_in_them(shots):
    outer = shots.parent / "outer"
    (outer / "inner").mkdir(parents=True)
    with pytest.raises(ImageError, match=r"it has folders: pass these, or '.*outer/\*/\*\.jpg'$"):
        find_files(f"{outer}/")


@pytest.mark.parametrize("argument", ["", "*"])
def test_too_many_files_are_refused(shots, monkeypatch, argument):
    monkeypatch.setattr(inputs, "MAX_FILES", 3)
    with pytest.raises(ImageError, match="more than 3 files; pass their names on standard input"):
        find_files(f"{shots}/{argument}")


def test_a_folder_that_cannot_be_listed_is_refused(monkeypatch, tmp_path):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        find_files(tmp_path)
