"""Folders in archives: read as they are outside of them, never extracted, and hostile members refused within bounds."""

import io
import os
import shutil
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_arrays import make_images, make_labels

from clf_runtime.datasets import archive_tree, pictures, tar_archive
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Write = Callable[..., Path]
NINE = [f"{name}/{i}.png" for name in ("1", "10", "9") for i in range(3)]


def png(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def make_zip(
    file: Path, members: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return file


def make_tar(file: Path, members: dict[str, bytes] | list[tuple[str, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file


MAKERS = {"set.zip": make_zip, "set.tar.gz": make_tar}
PICTURES = {name: png(i) for i, name in enumerate(NINE)}


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
@pytest.mark.parametrize("above", [False, True])
def test_class_folders_are_read_as_they_are_outside(
    tmp_path: Path, write_pictures: Write, kind: str, above: bool
) -> None:
    write_pictures(tmp_path / "set", *NINE, "1/.DS_Store", "__MACOSX/1/._0.png")
    before = read_source(tmp_path / "set")
    file = shutil.make_archive(
        str(tmp_path / "packed"), kind, tmp_path if above else tmp_path / "set", "set" if above else None
    )
    shutil.rmtree(tmp_path / "set")
    there = set(os.listdir(tmp_path))
    read = read_source(file)
    assert (read.fingerprint, read.names, read.layout) == (before.fingerprint, ("1", "9", "10"), before.layout)
    assert read.source == file
    assert [note.split(": ")[-1] for note in read.notes if "skipped" in note] == [
        "2 files or folders (.DS_Store, __MACOSX)"
    ]
    assert set(os.listdir(tmp_path)) == there


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_lists_idx_files_and_tables_are_read_in_archives(tmp_path: Path, write_pictures: Write, kind: str) -> None:
    folder = write_pictures(tmp_path / "list", *NINE)
    (folder / "x.csv").write_text("\n".join(["path,label", *(f"{p},{p[0]}" for p in reversed(NINE)), f"{NINE[0]},1"]))
    table = tmp_path / "table"
    table.mkdir()
    rows = [",".join(map(str, (i % 2, *range(i, i + 25)))) for i in range(12)]
    (table / "train.csv").write_text("\n".join(["label," + ",".join(map(str, range(25))), *rows]))
    idx = tmp_path / "idx"
    idx.mkdir()
    for stem in ("train", "t10k"):
        for name, array in (("images-idx3", make_images()[:, 0]), ("labels-idx1", make_labels().astype(np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (idx / f"{stem}-{name}-ubyte").write_bytes(head + array.tobytes())
    for source in (folder, table, idx):
        packed = shutil.make_archive(str(source), kind, source)
        read, before = read_source(packed), read_source(source)
        assert (read.fingerprint, read.layout, read.names) == (before.fingerprint, before.layout, before.names)


@pytest.mark.parametrize("file", MAKERS)
@pytest.mark.parametrize("name", ["../1/x.png", "/1/x.png", "1/../../x.png", "1/x.png/../../../y.png"])
def test_a_path_that_leads_out_of_the_archive_is_refused(tmp_path: Path, file: str, name: str) -> None:
    with pytest.raises(DataError, match=rf"{file}: contains .* a path that leads out of the archive"):
        read_source(MAKERS[file](tmp_path / file, {**PICTURES, name: png()}))
    assert os.listdir(tmp_path) == [file]


@pytest.mark.parametrize("file", MAKERS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_are_there_twice_or_clash_are_refused(tmp_path: Path, file: str) -> None:
    twice = [*PICTURES.items(), ("./1//0.png", png())]
    with pytest.raises(DataError, match=r"duplicate \./1//0\.png"):
        read_source(MAKERS[file](tmp_path / file, twice))
    with pytest.raises(DataError, match="is inside of a file"):
        read_source(MAKERS[file](tmp_path / file, [*PICTURES.items(), ("1/0.png/x.png", png())]))
    with pytest.raises(DataError, match="a path that exceeds the limits"):
        read_source(MAKERS[file](tmp_path / file, [("a/" * 40 + "x.png", png())]))


def test_links_are_not_followed_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(99))
    with tarfile.open(make_tar(tmp_path / "set.tar", PICTURES, "w"), "a") as archive:
        for kind, name in ((tarfile.SYMTYPE, "1/link.png"), (tarfile.LNKTYPE, "9/hard.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(tmp_path / "secret.png")
            archive.addfile(info)
    with zipfile.ZipFile(make_zip(tmp_path / "set.zip", PICTURES), "a") as packed:
        for name in ("1/link.png", "9/hard.png"):
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            packed.writestr(member, str(tmp_path / "secret.png"))
    for file in ("set.tar", "set.zip"):
        read = read_source(tmp_path / file)
        assert len(read.train) + len(read.test) == 9
        assert "links in an archive are not followed: 2" in read.notes[0]


@pytest.mark.parametrize("file", MAKERS)
def test_a_picture_that_unpacks_to_more_than_any_is_refused_within_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 4 << 20)  # of 64 MiB, which take longer
    bomb = MAKERS[file](tmp_path / file, {**PICTURES, "1/bomb.png": bytes(16 << 20)})
    assert bomb.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(DataError, match=r"1/bomb\.png: exceeds the limit of 4 MiB"):
        read_source(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert len(read_source(bomb, skip_bad=True).skipped) == 1


def test_a_zip_whose_members_share_their_bytes_is_refused(tmp_path: Path) -> None:
    make_zip(tmp_path / "set.zip", {f"{c}/{i}.png": png() for c in "ab" for i in range(9)}, zipfile.ZIP_STORED)
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        infos = archive.infolist()
        end = archive.start_dir
    data = (tmp_path / "set.zip").read_bytes()
    first = infos[0]
    body = data[: first.header_offset + 30 + len(first.filename) + first.compress_size]
    directory = data[end:].replace(infos[1].header_offset.to_bytes(4, "little"), bytes(4))
    offset = len(directory) - 22
    directory = directory[: offset + 16] + len(body).to_bytes(4, "little") + directory[offset + 20 :]
    (tmp_path / "set.zip").write_bytes(body + directory)
    with pytest.raises(DataError, match=r"set\.zip: damaged: its members are larger than the file"):
        read_source(tmp_path / "set.zip")


@pytest.mark.parametrize("file", MAKERS)
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9])
def test_a_truncated_archive_is_one_error(tmp_path: Path, file: str, kept: float) -> None:
    path = MAKERS[file](tmp_path / file, PICTURES)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DataError, match=file.replace(".", r"\.")) as caught:
        read_source(path)
    assert "\n" not in str(caught.value)


def test_a_member_that_is_damaged_alone_is_a_broken_picture(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", PICTURES, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for name in ("1/1.png", "9/2.png"):
        data[data.index(PICTURES[name]) + 60] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"2 pictures cannot be decoded: .*1/1\.png, .*9/2\.png .*Bad CRC-32"):
        read_source(path)
    assert [name[-7:] for name in read_source(path, skip_bad=True).skipped] == ["1/1.png", "9/2.png"]


def test_methods_that_are_no_deflate_and_encryption_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unsupported compression"):
        read_source(make_zip(tmp_path / "set.zip", PICTURES, zipfile.ZIP_LZMA))
    path = make_zip(tmp_path / "set.zip", {name: PICTURES[name] for name in ("1/0.png", "9/0.png")})
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"1/0\.png: encrypted; pack it again"):
        read_source(path)


def test_more_members_or_bytes_than_are_held_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_tar(tmp_path / "set.tar.gz", {**PICTURES, "10/x.png": png(77)})
    monkeypatch.setattr(tar_archive, "physical_memory", lambda: 500)
    with pytest.raises(DataError, match="do not fit into half of the memory; unpack it, or pack it as"):
        read_source(path)
    monkeypatch.undo()
    monkeypatch.setattr(archive_tree, "MAX_MEMBERS", 5)
    for file, make in MAKERS.items():
        with pytest.raises(DataError, match="more than 5 members"):
            read_source(make(tmp_path / file, PICTURES))


def test_an_archive_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "set.tar.gz", PICTURES)
    archive = tar_archive.TarArchive(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match="the file was replaced or modified while it was read"):
        list(archive.read_all([0], 1 << 20))


@pytest.mark.parametrize("file", MAKERS)
def test_an_archive_of_no_layout_says_what_it_holds(tmp_path: Path, file: str) -> None:
    with pytest.raises(DataError, match=rf"{file}: unknown layout of an archive \(found a\.txt, b\)"):
        read_source(MAKERS[file](tmp_path / file, {"a.txt": b"x", "b/c.txt": b"y"}))


def test_a_member_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {**PICTURES, "NONAME": b""})
    path.write_bytes(path.read_bytes().replace(b"NONAME", bytes(6)))
    assert len(read_source(path).train) == 6
