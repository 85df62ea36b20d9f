import errno
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from clf_runtime.whole_file import refuse_place, whole_file


@pytest.mark.parametrize("place", ["/proc/x.onnx", "n" * 250])
def test_an_error_names_the_file_and_not_the_one_beside_it(tmp_path, place):
    with pytest.raises(OSError, match=r"No such file|too long") as error, whole_file(tmp_path / place) as partial:
        partial.write_bytes(b"1")
    assert error.value.filename == str(tmp_path / place)


def test_a_disk_that_is_full_when_the_file_is_synced_names_it_too(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as error, whole_file(tmp_path / "x") as partial:
        partial.write_bytes(b"1")
    assert error.value.filename == str(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as error, whole_file(tmp_path / "x") as partial:
        partial.write_bytes((tmp_path / "missing").read_bytes())
    assert error.value.filename == str(tmp_path / "missing")


def fail(*files):
    with ExitStack() as stack:
        for file in files:
            stack.enter_context(whole_file(file)).write_bytes(b"1")
        raise RuntimeError


def test_folders_that_were_made_for_files_go_if_one_fails_and_others_stay(tmp_path):
    (tmp_path / "there").mkdir()
    for files in (["new/deep/x", "new/y"], ["there/new/x"], ["there/x"]):
        with pytest.raises(RuntimeError):
            fail(*(tmp_path / file for file in files))
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_the_root_of_the_disk_is_a_place_like_others():
    refuse_place(Path(Path.cwd().anchor))
