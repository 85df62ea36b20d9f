"""Broken pictures: all of them are named at once, and with skip_bad they are left out wherever the source is read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clf_runtime import ModelCard
from clf_runtime.datasets import pictures
from clf_runtime.datasets.labelled import open_labelled
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Write = Callable[..., Path]


@pytest.fixture
def source(tmp_path: Path, write_pictures: Write) -> Path:
    """Twelve pictures in class folders, of which cat/3.png is cut short and dog/0.png is none."""
    write_pictures(tmp_path / "set", *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(6)))
    good = (tmp_path / "set" / "cat" / "3.png").read_bytes()
    (tmp_path / "set" / "cat" / "3.png").write_bytes(good[:100])
    (tmp_path / "set" / "dog" / "0.png").write_bytes(b"no picture")
    return tmp_path / "set"


def test_all_are_named_at_once(source: Path) -> None:
    with pytest.raises(
        DataError, match=r"2 pictures cannot be decoded: .*cat/3\.png, .*dog/0\.png \(the first: "
    ) as caught:
        read_source(source)
    assert str(caught.value).endswith("fix or remove them, or pass --skip-bad to skip them")


def test_many_are_listed_in_a_file(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pictures, "_MAX_LISTED", 20)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataError, match="2 pictures cannot be decoded: listed in ") as caught:
        read_source(source)
    (listed,) = tmp_path.glob("broken-pictures-*.txt")
    assert str(listed) in str(caught.value)
    assert listed.read_text().splitlines() == [str(source / "cat" / "3.png"), str(source / "dog" / "0.png")]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"2 pictures cannot be decoded: .*\.\.\. \(the first"):
        read_source(source)


def test_with_skip_bad_they_are_left_out_alike_in_training_and_on_a_device(source: Path) -> None:
    read = read_source(source, skip_bad=True)
    assert read.skipped == (str(source / "cat" / "3.png"), str(source / "dog" / "0.png"))
    assert (len(read.train), len(read.test)) == (8, 2)
    assert f"skipped, since it cannot be decoded: 2 pictures ({', '.join(read.skipped)})" in read.notes
    card = ModelCard("m", read.names, read.image_shape, "uint8", (0.0, 255.0), test_images=2)
    labelled = open_labelled(source, card, skip_bad=True)
    assert labelled.part == "the fifth of 10 images that clf-train holds out"
    np.testing.assert_array_equal(np.concatenate([b.images for b in labelled.blocks()]), read.test.images)
    assert labelled.notes == (read.notes[0],)
    with pytest.raises(ValueError, match=r"dog/0\.png"):
        list(open_labelled(source, replace(card, test_images=12)).blocks())


def test_where_none_can_be_read_skip_bad_is_no_help(source: Path) -> None:
    for file in source.rglob("*.png"):
        file.write_bytes(b"x")
    with pytest.raises(DataError, match="none of 12 pictures can be decoded"):
        read_source(source, skip_bad=True)
