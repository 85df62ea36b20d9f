"""CIFAR-10, both versions, as folders and packed; all made here from small batches."""

import io
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from clf_runtime.datasets import cifar10
from clf_train import Dataset
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Files = dict[str, bytes]
Pack = Callable[..., Path]
Check = Callable[[Dataset, str], None]
EACH = 6  # images in a batch
FOLDERS = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}


class Python2Pickler(pickle._Pickler):
    """Writes texts and bytes as Python 2 wrote its str: as bare bytes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str(self, value: str | bytes) -> None:
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_str


def dumps(value: Any, writer: str) -> bytes:
    """Pickle as `Python 2` did, or as Python 3 does in the protocol of that number."""
    if writer != "Python 2":
        return pickle.dumps(value, int(writer))
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


@pytest.fixture
def python_files(cifar10_batches: dict[str, tuple[np.ndarray, list[int]]]) -> Callable[..., Files]:
    """The files of the python version, as `Python 2` wrote them or in a protocol of Python 3."""

    def files(writer: str = "Python 2") -> Files:
        files = {}
        for number, (name, (rows, labels)) in enumerate(cifar10_batches.items()):
            batch = {
                b"batch_label": f"batch {number}".encode(),
                b"labels": labels,
                b"data": rows,
                b"filenames": [b"a_%06d.png" % i for i in range(EACH)],
            }
            files[name] = dumps(batch, writer)
        meta = {b"num_cases_per_batch": EACH, b"label_names": [b"airplane", b"automobile", b"bird"], b"num_vis": 3072}
        return files | {"batches.meta": dumps(meta, writer)}

    return files


@pytest.fixture
def files_of(cifar10_binary: Files, python_files: Callable[..., Files]) -> Callable[[str], Files]:
    return lambda version: cifar10_binary.copy() if version == "binary" else python_files()


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("version", ["binary", "python"])
def test_a_folder_is_read_with_its_batches_in_order(
    tmp_path: Path, check_cifar10: Check, files_of: Callable[[str], Files], version: str
) -> None:
    folder = write_folder(tmp_path / "any name", files_of(version))
    assert cifar10.recognises(folder)
    check_cifar10(read_source(folder), version)


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", ""])
def test_an_archive_is_read_packed_in_any_way(
    tmp_path: Path,
    check_cifar10: Check,
    pack_cifar10: Pack,
    files_of: Callable[[str], Files],
    version: str,
    compression: str,
) -> None:
    check_cifar10(
        read_source(pack_cifar10(tmp_path / "set", files_of(version), FOLDERS[version] + "/", compression)), version
    )


@pytest.mark.parametrize("folder", ["", "./", "deep/er/", "./cifar-10-batches-bin/"])
def test_the_folder_within_an_archive_does_not_matter(
    tmp_path: Path, cifar10_binary: Files, check_cifar10: Check, pack_cifar10: Pack, folder: str
) -> None:
    check_cifar10(read_source(pack_cifar10(tmp_path / "set.tar.gz", cifar10_binary, folder)), "binary")


@pytest.mark.parametrize("writer", ["Python 2", "0", "1", "2", "3", "4"])
def test_the_python_version_is_read_in_every_protocol(
    tmp_path: Path, check_cifar10: Check, python_files: Callable[..., Files], writer: str
) -> None:
    check_cifar10(read_source(write_folder(tmp_path, python_files(writer))), "python")


def test_both_versions_and_both_forms_have_one_fingerprint(
    tmp_path: Path, cifar10_binary: Files, pack_cifar10: Pack, python_files: Callable[..., Files]
) -> None:
    sources = [
        write_folder(tmp_path / "bin", cifar10_binary),
        write_folder(tmp_path / "py", python_files()),
        pack_cifar10(tmp_path / "bin.tar.gz", cifar10_binary),
        pack_cifar10(tmp_path / "py.tar.gz", python_files()),
    ]
    assert len({read_source(source).fingerprint for source in sources}) == 1


@pytest.mark.parametrize("version", ["binary", "python"])
def test_an_outer_folder_is_looked_into(
    tmp_path: Path, check_cifar10: Check, files_of: Callable[[str], Files], version: str
) -> None:
    write_folder(tmp_path / FOLDERS[version], files_of(version))
    check_cifar10(read_source(tmp_path), version)


def test_an_outer_folder_with_both_versions_is_no_known_layout(
    tmp_path: Path, files_of: Callable[[str], Files]
) -> None:
    for version, folder in FOLDERS.items():
        write_folder(tmp_path / folder, files_of(version))
    with pytest.raises(DataError, match="unknown layout"):
        read_source(tmp_path)


@pytest.mark.parametrize("version", ["binary", "python"])
def test_what_the_official_archive_has_beside_the_batches_is_ignored(
    tmp_path: Path, check_cifar10: Check, pack_cifar10: Pack, files_of: Callable[[str], Files], version: str
) -> None:
    files = files_of(version) | {"readme.html": b"<html>"}
    check_cifar10(read_source(write_folder(tmp_path / "folder", files)), version)
    check_cifar10(read_source(pack_cifar10(tmp_path / "set.tar.gz", files)), version)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("place", range(7))
def test_a_missing_file_is_named(
    tmp_path: Path, pack_cifar10: Pack, files_of: Callable[[str], Files], version: str, place: int, packed: bool
) -> None:
    files = files_of(version)
    name = list(files)[place]
    del files[name]
    source = pack_cifar10(tmp_path / "set", files) if packed else write_folder(tmp_path / "set", files)
    with pytest.raises(DataError, match=re.escape(f"{source / name}: missing from the CIFAR-10 {version} version")):
        read_source(source)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("binary", "data_batch_6.bin"),
        ("binary", "data_batch_1"),
        ("binary", "notes.txt"),
        ("python", "data_batch_6"),
        ("python", "more"),
    ],
)
def test_an_extra_file_is_refused_by_name(
    tmp_path: Path, files_of: Callable[[str], Files], version: str, name: str
) -> None:
    folder = write_folder(tmp_path, files_of(version) | {name: b""})
    with pytest.raises(DataError, match=re.escape(f"{folder / name}: an extra file")):
        read_source(folder)


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 2 * 3073 - 1])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_batch_that_is_no_whole_number_of_records_is_named(
    tmp_path: Path, cifar10_binary: Files, pack_cifar10: Pack, size: int, packed: bool
) -> None:
    files = cifar10_binary | {"data_batch_3.bin": bytes(size)}
    source = pack_cifar10(tmp_path / "set", files) if packed else write_folder(tmp_path / "set", files)
    message = re.escape(f"{source / 'data_batch_3.bin'}: {size:,} bytes, not a multiple of the record size 3,073")
    with pytest.raises(DataError, match=message):
        read_source(source)


@pytest.mark.parametrize("kind", ["train", "test"])
def test_a_label_without_a_name_is_refused(tmp_path: Path, cifar10_binary: Files, kind: str) -> None:
    files = cifar10_binary
    name = "data_batch_2.bin" if kind == "train" else "test_batch.bin"
    files[name] = b"\x09" + files[name][1:]
    with pytest.raises(DataError, match="labels go up to 9, but there are 3" if kind == "train" else "label 0 is 9"):
        read_source(write_folder(tmp_path, files))


@pytest.mark.parametrize("meta", [b"", b"\n\n", b"cat\n", b"cat\ndog\ncat\n"], ids=["empty", "blank", "one", "twice"])
def test_a_list_of_names_that_is_none_is_refused(tmp_path: Path, cifar10_binary: Files, meta: bytes) -> None:
    with pytest.raises(DataError, match=r"batches\.meta\.txt: not a list of different class names"):
        read_source(write_folder(tmp_path, cifar10_binary | {"batches.meta.txt": meta}))


GOOD_BATCH = {b"data": np.zeros((EACH, 3072), np.uint8), b"labels": [0] * EACH}


WRONG_BATCHES: dict[str, tuple[dict[Any, Any], str]] = {
    "no images": ({b"labels": [0]}, "no array data of N x 3072"),
    "no labels": ({b"data": GOOD_BATCH[b"data"]}, "no list of integers labels"),
    "images as a list": ({b"data": [1, 2]}, "no array data of N x 3072"),
    "images of another width": ({b"data": np.zeros((EACH, 3071), np.uint8)}, "no array data of N x 3072"),
    "images of four axes": ({b"data": np.zeros((EACH, 3, 32, 32), np.uint8)}, "no array data of N x 3072"),
    "fewer labels": ({b"labels": [0] * (EACH - 1)}, "6 images, but 5 labels"),
    "a label of text": ({b"labels": [0] * (EACH - 1) + ["1"]}, "no list of integers labels"),
    "a label that is true": ({b"labels": [0] * (EACH - 1) + [True]}, "no list of integers labels"),
    "a negative label": ({b"labels": [0] * (EACH - 1) + [-1]}, "no list of integers labels"),
    "a label of 256": ({b"labels": [0] * (EACH - 1) + [256]}, "no list of integers labels"),
    "a label as large as can be": ({b"labels": [0] * (EACH - 1) + [2**2000]}, "no list of integers labels"),
    "labels as an array": ({b"labels": np.zeros(EACH, np.uint8)}, "no list of integers labels"),
    "CIFAR-100's labels": ({b"labels": None, b"fine_labels": [0] * EACH}, "no list of integers labels"),
    "float images": ({b"data": np.zeros((EACH, 3072), np.float32)}, "an array that is not uint8"),
}


@pytest.mark.parametrize("case", WRONG_BATCHES)
def test_a_python_batch_of_other_content_is_named(
    tmp_path: Path, python_files: Callable[..., Files], case: str
) -> None:
    changes, message = WRONG_BATCHES[case]
    batch = {b"labels": [0]} if case == "no images" else GOOD_BATCH | changes
    if case == "no labels":
        del batch[b"labels"]
    folder = write_folder(tmp_path, python_files() | {"data_batch_4": pickle.dumps(batch, 2)})
    with pytest.raises(DataError, match=re.escape(str(folder / "data_batch_4")) + f": .*{message}"):
        read_source(folder)


@pytest.mark.parametrize("names", [None, b"cat dog", [b"cat", 3], [b"cat"], [b"cat", b"cat", b"dog"]], ids=repr)
def test_python_names_that_are_no_list_of_names_are_refused(
    tmp_path: Path, python_files: Callable[..., Files], names: Any
) -> None:
    files = python_files() | {"batches.meta": pickle.dumps({b"label_names": names}, 2)}
    with pytest.raises(DataError, match=r"batches\.meta: (contains no|not a) list of "):
        read_source(write_folder(tmp_path, files))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_hostile_python_batch_is_refused_and_never_run(
    tmp_path: Path, pack_cifar10: Pack, python_files: Callable[..., Files], packed: bool
) -> None:
    marker = tmp_path / "marker"
    files = python_files() | {"data_batch_1": f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()}
    source = pack_cifar10(tmp_path / "set", files) if packed else write_folder(tmp_path / "set", files)
    with pytest.raises(DataError, match=r"data_batch_1: not a file of CIFAR-10's python version.*os.system"):
        read_source(source)
    assert not marker.exists()


def test_a_batch_file_that_is_larger_than_may_be_is_refused_before_it_is_read(
    tmp_path: Path, python_files: Callable[..., Files]
) -> None:
    folder = write_folder(tmp_path, python_files())
    with (folder / "data_batch_5").open("wb") as stream:
        stream.truncate((256 << 20) + 1)  # a hole, which takes no room
    with pytest.raises(DataError, match=r"data_batch_5: exceeds the limit of .* for a batch of CIFAR-10"):
        read_source(folder)
