"""The cache of decoded pictures: it gives what decoding gives, and what it cannot vouch for is decoded anew."""

import ast
import hashlib
import inspect
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clf_runtime.model.geometry import USUAL, Geometry
from clf_train.data import cache_entry, picture_cache, scaling
from clf_train.data.dataset import Dataset
from clf_train.data.sources import read_source
from clf_train.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, which keeps whatever is decoded, however fast."""
    monkeypatch.setattr(picture_cache, "folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(picture_cache, "LEAST_SECONDS", -1)
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Class folders with a training and a test part, of two sizes; one picture moves, one is broken."""
    for i in range(12):
        file = tmp_path / "set" / ("test" if i > 8 else "train") / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (20, 30 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("blue", "red")]
    frames[0].save(tmp_path / "set" / "train" / "a" / "m.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "set" / "train" / "b" / "z.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return tmp_path / "set"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are decoded."""
    names: list[str] = []
    plain = scaling.decode_picture

    def decode(data: bytes, where: str, *rest: object) -> np.ndarray:
        names.append(Path(where).name)
        return plain(data, where, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(scaling, "decode_picture", decode)
    return names


def alike(a: Dataset, b: Dataset) -> bool:
    np.testing.assert_array_equal(a.train.images, b.train.images)
    np.testing.assert_array_equal(a.test.images, b.test.images)
    assert a.skipped == b.skipped
    return (a.fingerprint, a.notes, a.doubts) == (b.fingerprint, b.notes, b.doubts)


def read(source: Path, geometry: Geometry = USUAL) -> Dataset:
    return read_source(source, size=(8, 8), geometry=geometry, skip_bad=True)


def test_a_second_reading_decodes_nothing_and_is_equal(
    source: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(picture_cache, "LEAST_SECONDS", 1e9)  # as if there were no cache
        plain = read(source)
    assert any("several pictures" in note for note in plain.notes)
    decoded.clear()
    assert alike(read(source), plain)
    assert len(decoded) == 14  # each once, though --skip-bad looks at all of them first
    decoded.clear()
    assert alike(read(source), plain)
    monkeypatch.chdir(source.parent)
    by_another_path = read(Path("set"))
    assert decoded == []
    assert by_another_path.fingerprint == plain.fingerprint
    assert by_another_path.skipped == (str(Path("set", "train", "b", "z.png")),)
    with pytest.raises(DataError, match=r"^set/train/b/z\.png: cannot be decoded: .*; fix or remove it"):
        read_source(Path("set"), size=(8, 8))


def test_another_geometry_and_changed_pictures_are_decoded(source: Path, decoded: list[str], cache: Path) -> None:
    before = read(source)
    assert len(list(cache.iterdir())) == 2
    decoded.clear()
    read(source, replace(USUAL, fit="pad"))
    assert len(decoded) == 14
    file = source / "train" / "a" / "0.png"
    status, other = file.stat(), (source / "train" / "a" / "2.png").read_bytes()
    file.write_bytes(other)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    decoded.clear()
    assert read(source).fingerprint != before.fingerprint
    assert len(decoded) == 11  # those of the training part


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_entry_is_made_anew(source: Path, decoded: list[str], cache: Path, damage: str) -> None:
    before = read(source)
    whole = {file: file.read_bytes() for file in cache.iterdir()}
    for file, data in whole.items():
        middle = len(data) // 2
        changed = {
            "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "cut": data[:-9],
            "empty": b"",
        }
        file.write_bytes(changed[damage])
    decoded.clear()
    assert alike(read(source), before)
    assert len(decoded) == 14
    assert {file: file.read_bytes() for file in cache.iterdir()} == whole


@pytest.mark.parametrize(
    "record",
    [
        [],
        {},
        {"sizes": [1, 2], "moving": {}, "broken": {}},
        {"sizes": [], "moving": {"99": "x"}, "broken": {}},
        {"sizes": [], "moving": {}, "broken": {"1": 5}},
        {"sizes": [], "moving": {}, "broken": {"0": "x", "1": "y"}},
    ],
)
def test_an_entry_of_another_program_is_made_anew(source: Path, cache: Path, record: object) -> None:
    before = read(source)
    for file in cache.iterdir():
        body = file.read_bytes()[:-32]
        length = int.from_bytes(body[-8:], "little")
        text = json.dumps(record).encode()
        body = body[: -8 - length] + text + len(text).to_bytes(8, "little")
        file.write_bytes(body + hashlib.sha256(body).digest())
    assert alike(read(source), before)


def test_nothing_is_kept_where_there_is_no_home(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_cache, "folder", lambda: Path("~/.cache"))  # which nobody expands then
    monkeypatch.chdir(tmp_path)
    read(source)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]


def test_nothing_is_kept_of_what_is_fast_or_changed_a_moment_ago(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_cache, "LEAST_SECONDS", 30)
    read(source)
    monkeypatch.setattr(cache_entry, "_HELD_BYTES", 0)  # as if it were much, and so begun
    read(source)
    assert not cache.exists()


def test_a_disk_that_takes_nothing_changes_nothing(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        before = read(source)
    assert list(cache.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(cache_entry, "MOST_BYTES", 100)
        assert alike(read(source), before)
    assert list(cache.iterdir()) == []
    cache.rmdir()
    cache.write_text("no folder")
    assert alike(read(source), before)


def test_what_was_not_used_for_longest_makes_room(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(source)
    old, used = sorted(cache.iterdir())
    os.utime(old, (1, 1))
    os.utime(used, (2, 2))
    monkeypatch.setattr(cache_entry, "MOST_BYTES", sum(file.stat().st_size for file in cache.iterdir()))
    read(source)
    assert min(old.stat().st_mtime, used.stat().st_mtime) > 2  # each use counts
    os.utime(old, (1, 1))
    (cache / "thesis.txt").write_text("of the user")
    os.utime(cache / "thesis.txt", (0, 0))
    read_source(source, size=(2, 2), skip_bad=True)
    assert not old.exists()
    assert (cache / "thesis.txt").exists()
    assert used.exists()


def test_all_code_that_decodes_is_part_of_the_name() -> None:
    """Or pixels of other code would be found; what neither decodes nor scales is named here."""
    names = {module.__name__ for module in picture_cache._CODE}
    for module in picture_cache._CODE:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("clf_runtime.inputs"):
                assert node.module in names
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("clf_runtime.model"):
                assert node.module == "clf_runtime.model.geometry"
