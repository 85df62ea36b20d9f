"""Files that are no tensor of torch.save, or damaged or hostile ones: refused by name, and never run."""

import contextlib
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
from small_tensors import make_labels, make_pixels

from clf_train.data import legacy_tensors
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Save = Callable[..., Path]


WRONG_KINDS: dict[str, tuple[Any, str]] = {
    "list of tensors": ([make_pixels()], "contains a list, expected one tensor"),
    "dict of tensors": ({"data": make_pixels()}, "contains a dict, expected one tensor"),
    "tuple": ((make_pixels(), make_labels()), "contains a tuple, expected one tensor"),
    "number": (3, "contains a int, expected one tensor"),
    "text": ("images", "contains a str, expected one tensor"),
    "None": ([None], "contains a list, expected one tensor"),
    "sparse tensor": (make_pixels().float().to_sparse(), "expected a dense one of real numbers"),
    "complex tensor": (make_pixels().to(torch.complex64), "expected a dense one of real numbers"),
    "module": (torch.nn.Linear(2, 2), "contains Python objects other than tensors, which are never loaded"),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("case", WRONG_KINDS)
def test_anything_but_one_plain_tensor_is_refused(tmp_path: Path, save_tensors: Save, case: str, legacy: bool) -> None:
    value, message = WRONG_KINDS[case]
    with pytest.raises(DataError, match=f"train_data_2: .*{message}"):
        read_source(save_tensors(tmp_path, legacy=legacy, train_data=value))


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
def test_a_hostile_pickle_is_refused_and_never_run(tmp_path: Path, save_tensors: Save, name: str, form: str) -> None:
    folder, marker = save_tensors(tmp_path / "set"), tmp_path / "marker"
    payload = Payload(marker)
    if form == "pickle":
        (folder / name).write_bytes(pickle.dumps(payload, protocol=2))
    else:
        value = [make_pixels(), payload] if form.startswith("hidden") else payload
        torch.save(value, folder / name, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(DataError, match=f"{name}: contains Python objects other than tensors"):
        read_source(folder)
    assert not marker.exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0, 1, 4, 100, 0.3, 0.6, 0.9, 0.99, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, save_tensors: Save, kept: float, legacy: bool) -> None:
    folder = save_tensors(tmp_path, legacy=legacy)
    data = (folder / "train_data_2").read_bytes()
    (folder / "train_data_2").write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(DataError, match=re.escape(str(folder / "train_data_2"))):
        read_source(folder)


@pytest.mark.parametrize("name", ["train_data_2", "test_labels_2"])
def test_a_single_changed_byte_is_told_by_the_checksum_of_the_file(
    tmp_path: Path, save_tensors: Save, name: str
) -> None:
    file = save_tensors(tmp_path) / name
    with zipfile.ZipFile(file) as archive:
        value = archive.read(f"{name}/data/0")
    data = bytearray(file.read_bytes())
    data[data.index(value) + len(value) - 1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: not a tensor .*, or damaged: Bad CRC-32 for file '{name}/data/0'"):
        read_source(tmp_path)


def test_a_file_that_torch_wrote_without_checksums_is_read(tmp_path: Path, save_tensors: Save) -> None:
    wanted = read_source(save_tensors(tmp_path / "with")).fingerprint
    torch.serialization.set_crc32_options(False)
    try:
        save_tensors(tmp_path / "without")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "without" / "train_data_2") as archive:
        assert archive.testzip() is not None
    assert read_source(tmp_path / "without").fingerprint == wanted


def test_members_that_share_their_bytes_are_refused_before_they_are_read(tmp_path: Path, save_tensors: Save) -> None:
    file = save_tensors(tmp_path) / "train_data_2"
    with zipfile.ZipFile(file, "a") as archive:
        archive.filelist += [archive.getinfo("train_data_2/data/0")] * 1000
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"train_data_2: .*its members claim more bytes than the file has"):
        read_source(tmp_path)


def test_a_file_that_can_neither_be_mapped_nor_fits_into_memory_is_refused(
    tmp_path: Path, save_tensors: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legacy_tensors, "physical_memory", lambda: 1000)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(DataError, match="train_data_2: cannot be mapped and does not fit into memory; save it again"):
        read_source(save_tensors(tmp_path, legacy=True))


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
def test_a_file_that_is_no_tensor_is_refused_by_name(tmp_path: Path, save_tensors: Save, content: bytes) -> None:
    folder = save_tensors(tmp_path)
    (folder / "test_data_2").write_bytes(content)
    with pytest.raises(DataError, match=r"test_data_2: not a tensor written with torch\.save, or damaged"):
        read_source(folder)


def test_an_npz_under_the_name_of_a_tensor_is_refused(tmp_path: Path, save_tensors: Save) -> None:
    folder = save_tensors(tmp_path)
    with (folder / "train_data_2").open("wb") as stream:
        np.savez(stream, images=make_pixels().numpy())
    with pytest.raises(DataError, match=r"train_data_2: not a tensor written with torch\.save, or damaged"):
        read_source(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images.to(torch.float8_e4m3fn),
        lambda images: torch.empty(images.shape, device="meta"),
        lambda images: torch._neg_view(images.float()),
    ],
    ids=["float8", "meta", "neg"],
)
def test_tensors_that_numpy_does_not_take(tmp_path: Path, save_tensors: Save, change: Any) -> None:
    images = change(make_pixels())
    with contextlib.suppress(DataError):  # a numpy or torch that learns to convert it may
        read = read_source(save_tensors(tmp_path, train_data=images, test_data=images))
        assert read.dtype == "float32"


def test_empty_tensor_file_has_a_reason(tmp_path: Path, save_tensors: Save) -> None:
    (save_tensors(tmp_path) / "train_data_2").write_bytes(b"")
    with pytest.raises(DataError, match=r"train_data_2: .*[a-z]$"):
        read_source(tmp_path)


def test_repacked_tensor(tmp_path: Path, save_tensors: Save) -> None:
    file = save_tensors(tmp_path) / "train_data_2"
    with zipfile.ZipFile(file) as a, zipfile.ZipFile(tmp_path / "q", "w", zipfile.ZIP_DEFLATED) as b:
        for member in a.infolist():
            b.writestr(member.filename, a.read(member.filename))
    (tmp_path / "q").replace(file)
    with contextlib.suppress(DataError):
        np.testing.assert_array_equal(read_source(tmp_path).train.images, make_pixels().numpy())
