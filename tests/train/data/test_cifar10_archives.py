"""Archives of CIFAR-10 that nobody vouches for: damaged, hostile, or of something else."""

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clf_train import Dataset
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Files = dict[str, bytes]
Pack = Callable[..., Path]
Check = Callable[[Dataset, str], None]


def tar_header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("prefix", ["../", "../../../", "/", "{tmp}/out/", "a/../../"])
def test_paths_that_lead_out_of_an_archive_write_nothing(
    tmp_path: Path,
    cifar10_binary: Files,
    check_cifar10: Check,
    pack_cifar10: Pack,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    evil = {"evil.bin": b"evil", "evil/data_batch_9.bin": b"evil"}
    pack_cifar10(inner / "set.tar.gz", cifar10_binary | evil, prefix.format(tmp=tmp_path))
    before = tree(tmp_path)
    check_cifar10(read_source(inner / "set.tar.gz"), "binary")
    assert tree(tmp_path) == before
    assert not Path("/evil.bin").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_a_member_that_is_no_file_is_not_followed(
    tmp_path: Path, cifar10_binary: Files, pack_cifar10: Pack, kind: bytes
) -> None:
    (tmp_path / "secret").write_bytes(cifar10_binary["data_batch_1.bin"])
    files = cifar10_binary
    del files["data_batch_1.bin"]
    pack_cifar10(tmp_path / "set.tar", files, compression="")
    link = tar_header("data_batch_1.bin", kind=kind, link=str(tmp_path / "secret"))
    (tmp_path / "set.tar").write_bytes(link + (tmp_path / "set.tar").read_bytes())
    with pytest.raises(DataError, match=r"data_batch_1\.bin: missing"):
        read_source(tmp_path / "set.tar")


@pytest.mark.parametrize("size", [(256 << 20) + 1, 1 << 40, 1 << 60])
@pytest.mark.parametrize("name", ["data_batch_1.bin", "test_batch", "batches.meta"])
def test_a_member_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path: Path, name: str, size: int) -> None:
    (tmp_path / "set.tar").write_bytes(tar_header(name, size) + bytes(2048))
    with pytest.raises(DataError, match=re.escape(f"set.tar: {name} is a duplicate, or exceeds")):
        read_source(tmp_path / "set.tar")


@pytest.mark.parametrize("size", [4096, 200 << 20, 1 << 40])
@pytest.mark.parametrize("name", ["data_batch_1.bin", "unknown"])
def test_a_member_that_claims_more_than_there_is_is_refused(tmp_path: Path, name: str, size: int) -> None:
    (tmp_path / "set.tar").write_bytes(tar_header(name, size) + bytes(2048))
    with pytest.raises(DataError, match=r"set\.tar: "):
        read_source(tmp_path / "set.tar")


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path, cifar10_binary: Files) -> None:
    files = cifar10_binary
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name in (*files, "data_batch_2.bin"):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    with pytest.raises(DataError, match=r"set\.tar: data_batch_2\.bin is a duplicate"):
        read_source(tmp_path / "set.tar")


def test_an_archive_of_something_else_says_so(tmp_path: Path, pack_cifar10: Pack) -> None:
    with pytest.raises(DataError, match=r"set\.tar: unknown layout of an archive \(found cifar-10"):
        read_source(pack_cifar10(tmp_path / "set.tar", {"cat.txt": b"x"}))


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", ""])
@pytest.mark.parametrize("kept", [0, 0.02, 0.3, 0.8])
def test_a_truncated_archive_is_refused_by_name(
    tmp_path: Path, cifar10_binary: Files, pack_cifar10: Pack, compression: str, kept: float
) -> None:
    file = pack_cifar10(tmp_path / "set.tar", cifar10_binary, compression=compression)
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(DataError, match=r"set\.tar: ") as caught:
        read_source(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text\n" * 300, bytes(10_240)], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"set\.tar\.gz: "):
        read_source(tmp_path / "set.tar.gz")


@pytest.mark.parametrize("kept", [2, 20, 90])
def test_a_gz_cut_in_its_first_bytes(tmp_path: Path, pack_cifar10: Pack, cifar10_binary: Files, kept: int) -> None:
    file = pack_cifar10(tmp_path / "a.tar.gz", cifar10_binary)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a.tar.gz"):
        read_source(file)


def test_damaged_xz(tmp_path: Path, pack_cifar10: Pack, cifar10_binary: Files) -> None:
    file = pack_cifar10(tmp_path / "a.tar.xz", cifar10_binary, compression="xz")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"a.tar.xz"):
        read_source(file)


def test_damaged_gz_is_told_by_its_checksum(tmp_path: Path, pack_cifar10: Pack, cifar10_binary: Files) -> None:
    file = pack_cifar10(tmp_path / "a.tar.gz", cifar10_binary)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1  # noise is stored, not deflated: one pixel changes
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"a.tar.gz"):
        read_source(file)


@pytest.mark.parametrize("headers", [{"GNU.sparse.map": "a,b"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}])
def test_pax_headers(tmp_path: Path, headers: dict[str, str]) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("data_batch_1.bin")
        info.size, info.pax_headers = 3073, headers
        archive.addfile(info, io.BytesIO(b"\xff" * 3073))
    with pytest.raises(DataError, match=r"a.tar"):
        read_source(tmp_path / "a.tar")


def test_negative_size_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_header("x") + tar_header("other", -512) + bytes(1024))
    code = f"from clf_train.data.sources import read_source\nread_source({str(tmp_path / 'a.tar')!r})"
    try:
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=15)
    except subprocess.TimeoutExpired:
        pytest.fail("hangs")
    assert b"DataError" in out.stderr
