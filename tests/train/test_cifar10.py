"""The CIFAR-10 archives, both versions, as folders and packed, and the download; all made here from small batches."""

import hashlib
import io
import pickle
import re
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pooch
import pytest

from clf_train.errors import DataError
from clf_train.sources import cifar10, read_source

NAMES = ("airplane", "automobile", "bird")
EACH = 6  # images in a batch
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
FOLDERS = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}
LAST = {"binary": "batches.meta.txt", "python": "batches.meta"}


def make_batch(number: int) -> tuple[np.ndarray, list[int]]:
    """Rows of 3,072 bytes, as the archives hold them, and labels."""
    rows = np.random.default_rng(number).integers(0, 256, (EACH, 3072), dtype=np.uint8)
    return rows, [(number + i) % len(NAMES) for i in range(EACH)]


def binary_files() -> dict[str, bytes]:
    files = {}
    for number, name in enumerate(BATCHES):
        rows, labels = make_batch(number)
        files[f"{name}.bin"] = b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, rows, strict=True))
    return files | {"batches.meta.txt": "\n".join(NAMES).encode() + b"\n\n"}


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


def python_files(writer: str = "Python 2") -> dict[str, bytes]:
    files = {}
    for number, name in enumerate(BATCHES):
        rows, labels = make_batch(number)
        batch = {
            b"batch_label": f"batch {number}".encode(),
            b"labels": labels,
            b"data": rows,
            b"filenames": [b"a_%06d.png" % i for i in range(EACH)],
        }
        files[name] = dumps(batch, writer)
    meta = {b"num_cases_per_batch": EACH, b"label_names": [n.encode() for n in NAMES], b"num_vis": 3072}
    return files | {"batches.meta": dumps(meta, writer)}


def files_of(version: str) -> dict[str, bytes]:
    return binary_files() if version == "binary" else python_files()


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def pack(file: Path, files: dict[str, bytes], folder: str = "cifar-10-batches-bin/", compression: str = "gz") -> Path:
    with tarfile.open(file, f"w:{compression}") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file


def tar_header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def check(read: Any, version: str) -> None:
    """Hold a dataset against the batches that the helpers above make."""
    assert read.layout == f"CIFAR-10, {version} version"
    assert read.names == NAMES
    assert read.notes == ()
    assert (read.dtype, read.image_shape) == ("uint8", (3, 32, 32))
    batches = [make_batch(number) for number in range(6)]
    rows = np.concatenate([rows for rows, _ in batches[:5]])
    np.testing.assert_array_equal(read.train.images, rows.reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(read.train.labels, np.concatenate([labels for _, labels in batches[:5]]))
    np.testing.assert_array_equal(read.test.images, batches[5][0].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(read.test.labels, batches[5][1])


@pytest.mark.parametrize("version", ["binary", "python"])
def test_a_folder_is_read_with_its_batches_in_order(tmp_path: Path, version: str) -> None:
    folder = write_folder(tmp_path / "any name", files_of(version))
    assert cifar10.recognises(folder)
    check(read_source(folder), version)


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", ""])
def test_an_archive_is_read_packed_in_any_way(tmp_path: Path, version: str, compression: str) -> None:
    check(read_source(pack(tmp_path / "set", files_of(version), FOLDERS[version] + "/", compression)), version)


@pytest.mark.parametrize("folder", ["", "./", "deep/er/", "./cifar-10-batches-bin/"])
def test_the_folder_within_an_archive_does_not_matter(tmp_path: Path, folder: str) -> None:
    check(read_source(pack(tmp_path / "set.tar.gz", binary_files(), folder)), "binary")


@pytest.mark.parametrize("writer", ["Python 2", "0", "1", "2", "3", "4"])
def test_the_python_version_is_read_in_every_protocol(tmp_path: Path, writer: str) -> None:
    check(read_source(write_folder(tmp_path, python_files(writer))), "python")


def test_both_versions_and_both_forms_have_one_fingerprint(tmp_path: Path) -> None:
    sources = [
        write_folder(tmp_path / "bin", binary_files()),
        write_folder(tmp_path / "py", python_files()),
        pack(tmp_path / "bin.tar.gz", binary_files()),
        pack(tmp_path / "py.tar.gz", python_files()),
    ]
    assert len({read_source(source).fingerprint for source in sources}) == 1


@pytest.mark.parametrize("version", ["binary", "python"])
def test_an_outer_folder_is_looked_into(tmp_path: Path, version: str) -> None:
    write_folder(tmp_path / FOLDERS[version], files_of(version))
    check(read_source(tmp_path), version)


def test_an_outer_folder_with_both_versions_is_no_known_layout(tmp_path: Path) -> None:
    for version, folder in FOLDERS.items():
        write_folder(tmp_path / folder, files_of(version))
    with pytest.raises(DataError, match="no layout that is known"):
        read_source(tmp_path)


@pytest.mark.parametrize("version", ["binary", "python"])
def test_what_the_official_archive_has_beside_the_batches_is_ignored(tmp_path: Path, version: str) -> None:
    files = files_of(version) | {"readme.html": b"<html>"}
    check(read_source(write_folder(tmp_path / "folder", files)), version)
    check(read_source(pack(tmp_path / "set.tar.gz", files)), version)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("place", range(7))
def test_a_missing_file_is_named(tmp_path: Path, version: str, place: int, packed: bool) -> None:
    files = files_of(version)
    name = list(files)[place]
    del files[name]
    source = pack(tmp_path / "set", files) if packed else write_folder(tmp_path / "set", files)
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
def test_an_extra_file_is_refused_by_name(tmp_path: Path, version: str, name: str) -> None:
    folder = write_folder(tmp_path, files_of(version) | {name: b""})
    with pytest.raises(DataError, match=re.escape(f"{folder / name}: an extra file")):
        read_source(folder)


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 2 * 3073 - 1])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_batch_that_is_no_whole_number_of_records_is_named(tmp_path: Path, size: int, packed: bool) -> None:
    files = binary_files() | {"data_batch_3.bin": bytes(size)}
    source = pack(tmp_path / "set", files) if packed else write_folder(tmp_path / "set", files)
    message = re.escape(f"{source / 'data_batch_3.bin'}: {size:,} bytes, not a whole number of records of 3,073")
    with pytest.raises(DataError, match=message):
        read_source(source)


@pytest.mark.parametrize("kind", ["train", "test"])
def test_a_label_without_a_name_is_refused(tmp_path: Path, kind: str) -> None:
    files = binary_files()
    name = "data_batch_2.bin" if kind == "train" else "test_batch.bin"
    files[name] = b"\x09" + files[name][1:]
    with pytest.raises(DataError, match="labels go up to 9, but there are 3" if kind == "train" else "label 0 is 9"):
        read_source(write_folder(tmp_path, files))


@pytest.mark.parametrize("meta", [b"", b"\n\n", b"cat\n", b"cat\ndog\ncat\n"], ids=["empty", "blank", "one", "twice"])
def test_a_list_of_names_that_is_none_is_refused(tmp_path: Path, meta: bytes) -> None:
    with pytest.raises(DataError, match=r"batches\.meta\.txt: no list of class names"):
        read_source(write_folder(tmp_path, binary_files() | {"batches.meta.txt": meta}))


GOOD_BATCH = {b"data": make_batch(0)[0], b"labels": make_batch(0)[1]}
WRONG_BATCHES: dict[str, tuple[dict[Any, Any], str]] = {
    "no images": ({b"labels": [0]}, "no array named data of N x 3072"),
    "no labels": ({b"data": make_batch(0)[0]}, "no list of numbers named labels"),
    "images as a list": ({b"data": [1, 2]}, "no array named data of N x 3072"),
    "images of another width": ({b"data": np.zeros((EACH, 3071), np.uint8)}, "no array named data of N x 3072"),
    "images of four axes": ({b"data": np.zeros((EACH, 3, 32, 32), np.uint8)}, "no array named data of N x 3072"),
    "fewer labels": ({b"labels": [0] * (EACH - 1)}, "6 images, but 5 labels"),
    "a label of text": ({b"labels": [0] * (EACH - 1) + ["1"]}, "no list of numbers named labels"),
    "a label that is true": ({b"labels": [0] * (EACH - 1) + [True]}, "no list of numbers named labels"),
    "a negative label": ({b"labels": [0] * (EACH - 1) + [-1]}, "no list of numbers named labels"),
    "a label of 256": ({b"labels": [0] * (EACH - 1) + [256]}, "no list of numbers named labels"),
    "a label as large as can be": ({b"labels": [0] * (EACH - 1) + [2**2000]}, "no list of numbers named labels"),
    "labels as an array": ({b"labels": np.zeros(EACH, np.uint8)}, "no list of numbers named labels"),
    "CIFAR-100's labels": ({b"labels": None, b"fine_labels": [0] * EACH}, "no list of numbers named labels"),
    "float images": ({b"data": np.zeros((EACH, 3072), np.float32)}, "an array that is not uint8"),
}


@pytest.mark.parametrize("case", WRONG_BATCHES)
def test_a_python_batch_of_other_content_is_named(tmp_path: Path, case: str) -> None:
    changes, message = WRONG_BATCHES[case]
    batch = {b"labels": [0]} if case == "no images" else GOOD_BATCH | changes
    if case == "no labels":
        del batch[b"labels"]
    folder = write_folder(tmp_path, python_files() | {"data_batch_4": pickle.dumps(batch, 2)})
    with pytest.raises(DataError, match=re.escape(str(folder / "data_batch_4")) + f": .*{message}"):
        read_source(folder)


@pytest.mark.parametrize("names", [None, b"cat dog", [b"cat", 3], [b"cat"], [b"cat", b"cat", b"dog"]], ids=repr)
def test_python_names_that_are_no_list_of_names_are_refused(tmp_path: Path, names: Any) -> None:
    files = python_files() | {"batches.meta": pickle.dumps({b"label_names": names}, 2)}
    with pytest.raises(DataError, match=r"batches\.meta: no list of "):
        read_source(write_folder(tmp_path, files))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_hostile_python_batch_is_refused_and_never_run(tmp_path: Path, packed: bool) -> None:
    marker = tmp_path / "marker"
    files = python_files() | {"data_batch_1": f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()}
    source = pack(tmp_path / "set", files) if packed else write_folder(tmp_path / "set", files)
    with pytest.raises(DataError, match=r"data_batch_1: not a file of CIFAR-10's python version.*os.system"):
        read_source(source)
    assert not marker.exists()


# Archives that nobody vouches for


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("prefix", ["../", "../../../", "/", "{tmp}/out/", "a/../../"])
def test_paths_that_lead_out_of_an_archive_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    evil = {"evil.bin": b"evil", "evil/data_batch_9.bin": b"evil"}
    pack(inner / "set.tar.gz", binary_files() | evil, prefix.format(tmp=tmp_path))
    before = tree(tmp_path)
    check(read_source(inner / "set.tar.gz"), "binary")
    assert tree(tmp_path) == before
    assert not Path("/evil.bin").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_a_member_that_is_no_file_is_not_followed(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "secret").write_bytes(binary_files()["data_batch_1.bin"])
    files = binary_files()
    del files["data_batch_1.bin"]
    pack(tmp_path / "set.tar", files, compression="")
    link = tar_header("data_batch_1.bin", kind=kind, link=str(tmp_path / "secret"))
    (tmp_path / "set.tar").write_bytes(link + (tmp_path / "set.tar").read_bytes())
    with pytest.raises(DataError, match=r"data_batch_1\.bin: missing"):
        read_source(tmp_path / "set.tar")


@pytest.mark.parametrize("size", [(256 << 20) + 1, 1 << 40, 1 << 60])
@pytest.mark.parametrize("name", ["data_batch_1.bin", "test_batch", "batches.meta"])
def test_a_member_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path: Path, name: str, size: int) -> None:
    (tmp_path / "set.tar").write_bytes(tar_header(name, size) + bytes(2048))
    with pytest.raises(DataError, match=re.escape(f"set.tar: {name} is there twice, or larger than")):
        read_source(tmp_path / "set.tar")


@pytest.mark.parametrize("size", [4096, 200 << 20, 1 << 40])
@pytest.mark.parametrize("name", ["data_batch_1.bin", "unknown"])
def test_a_member_that_claims_more_than_there_is_is_refused(tmp_path: Path, name: str, size: int) -> None:
    (tmp_path / "set.tar").write_bytes(tar_header(name, size) + bytes(2048))
    with pytest.raises(DataError, match=r"set\.tar: "):
        read_source(tmp_path / "set.tar")


def test_a_batch_file_that_is_larger_than_may_be_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, binary_files())
    with (folder / "data_batch_5.bin").open("wb") as stream:
        stream.truncate((256 << 20) + 1)  # a hole, which takes no room
    with pytest.raises(DataError, match=r"data_batch_5\.bin: larger than a batch of CIFAR-10 may be"):
        read_source(folder)


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    files = binary_files()
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name in (*files, "data_batch_2.bin"):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    with pytest.raises(DataError, match=r"set\.tar: data_batch_2\.bin is there twice"):
        read_source(tmp_path / "set.tar")


def test_an_archive_of_something_else_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set\.tar: an archive without the batches of CIFAR-10"):
        read_source(pack(tmp_path / "set.tar", {"cat.png": b"x"}))


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", ""])
@pytest.mark.parametrize("kept", [0, 0.02, 0.3, 0.8])
def test_a_truncated_archive_is_refused_by_name(tmp_path: Path, compression: str, kept: float) -> None:
    file = pack(tmp_path / "set.tar", binary_files(), compression=compression)
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(DataError, match=r"set\.tar: ") as caught:
        read_source(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text\n" * 300, bytes(10_240)], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"set\.tar\.gz: "):
        read_source(tmp_path / "set.tar.gz")


# The download


@dataclass
class Server:
    """An HTTP server on this machine: what it gives, and what it was asked for."""

    content: bytes
    status: int = 200
    asked: list[str] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the binary archive, which stands in for the official one; the cache is in `tmp_path`."""
    state = Server(pack(tmp_path / "packed.tar.gz", binary_files()).read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.port = http.server_address[1]
        monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{state.port}/cifar-10-binary.tar.gz")
        monkeypatch.setattr(cifar10, "CHECKSUM", f"md5:{hashlib.md5(state.content).hexdigest()}")
        monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(proxy, raising=False)
        monkeypatch.chdir(tmp_path)  # where no file is named cifar10
        yield state
        http.shutdown()
        thread.join()


def cached(tmp_path: Path) -> list[str]:
    return [str(path.relative_to(tmp_path / "cache")) for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_word_cifar10_downloads_checks_and_reads_the_archive(tmp_path: Path, server: Server) -> None:
    read = read_source("cifar10")
    check(read, "binary")
    assert read.source == "cifar10"
    assert server.asked == ["/cifar-10-binary.tar.gz"]
    assert cached(tmp_path) == ["clf-edge/cifar-10-binary.tar.gz"]


def test_a_second_read_takes_the_cached_file(tmp_path: Path, server: Server) -> None:
    first = read_source("cifar10")
    server.status = 500
    assert read_source("cifar10").fingerprint == first.fingerprint
    assert len(server.asked) == 1


def test_a_cached_file_that_was_damaged_is_downloaded_anew(tmp_path: Path, server: Server) -> None:
    read_source("cifar10")
    (tmp_path / "cache/clf-edge/cifar-10-binary.tar.gz").write_bytes(b"damaged")
    check(read_source("cifar10"), "binary")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "content", [b"", b"<html>moved</html>", None], ids=["nothing", "a page", "the archive cut short"]
)
def test_a_wrong_checksum_is_refused_and_nothing_stays_in_the_cache(
    tmp_path: Path, server: Server, content: bytes | None
) -> None:
    server.content = server.content[:-1] if content is None else content
    with pytest.raises(DataError, match=r"cifar10: cannot be downloaded from http://127\.0\.0\.1") as caught:
        read_source("cifar10")
    assert "\n" not in str(caught.value)
    assert cached(tmp_path) == []


def test_a_refused_download_leaves_the_next_one_free_to_work(server: Server) -> None:
    good, server.content = server.content, b"wrong"
    with pytest.raises(DataError, match="cannot be downloaded"):
        read_source("cifar10")
    server.content = good
    check(read_source("cifar10"), "binary")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_answer_of_the_server_that_is_an_error_is_told(tmp_path: Path, server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(DataError, match=f"cifar10: cannot be downloaded from .*{status}"):
        read_source("cifar10")
    assert cached(tmp_path) == []


def test_a_server_that_is_not_there_is_told(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_address[1]
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{port}/x")
    with pytest.raises(DataError, match=f"cifar10: cannot be downloaded from http://127.0.0.1:{port}/x: "):
        read_source("cifar10")
    assert cached(tmp_path) == []


def test_the_download_is_held_against_the_published_checksum_of_the_official_file() -> None:
    assert cifar10.URL == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert cifar10.CHECKSUM == "md5:c32a1d4ab5d03f1284b67883e8d87530"
