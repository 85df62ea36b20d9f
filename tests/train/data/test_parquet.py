"""Parquet as the Hugging Face Hub serves image sets: columns, classes, parts, and files that are damaged or hostile."""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from small_arrays import make_images, make_labels

from clf_runtime.datasets import parquet as parquet_layout
from clf_runtime.datasets import parquet_file
from clf_train.data.sources import read_source
from clf_train.errors import DataError

X, Y = make_images(), make_labels()


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, "PNG")
    return stream.getvalue()


PICTURES = [png(image) for image in X]


def save(
    file: Path,
    rows: slice = slice(None),
    names: Sequence[str] | None = ("a", "b", "c"),
    path: str | None = "/etc/passwd",
    **changes: Any,
) -> Path:
    """Write some rows as the Hub does; a change to None leaves a column out."""
    columns = {"image": [{"bytes": data, "path": path} for data in PICTURES[rows]], "label": Y[rows].tolist()}
    table = pyarrow.table({name: value for name, value in (columns | changes).items() if value is not None})
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    for name in ("label", "fine_label", "coarse_label"):
        if names is not None and name in table.column_names:
            features[name] = {"_type": "ClassLabel", "names": list(names)}
    file.parent.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, file, row_group_size=5)
    return file


@pytest.mark.parametrize(
    "places",
    [
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"),
        ("plain/train/0000.parquet", "plain/train/0001.parquet", "plain/test/0000.parquet"),
        ("Train-0.parquet", "Train-1.parquet", "Test.parquet"),
    ],
)
def test_parts_are_put_together_from_their_files(tmp_path: Path, places: Sequence[str]) -> None:
    for place, rows in zip(places, (slice(7), slice(7, None), slice(6)), strict=True):
        save(tmp_path / place, rows)
    (tmp_path / "README.md").write_text("x")
    read = read_source(tmp_path)
    assert (read.layout, read.names) == ("parquet of pictures", ("a", "b", "c"))
    np.testing.assert_array_equal(read.train.images, X)
    np.testing.assert_array_equal(read.train.labels, Y)
    np.testing.assert_array_equal(read.test.images, X[:6])


def test_other_columns_and_labels_of_texts(tmp_path: Path) -> None:
    bare = {"image": None, "img": PICTURES}
    texts = save(tmp_path / "a.parquet", names=None, label=[f"x{10 - n}" for n in Y], more=list(range(12)), **bare)
    read = read_source(texts)
    assert read.names == ("x8", "x9", "x10")
    both = save(tmp_path / "b.parquet", label=None, fine_label=Y.tolist(), coarse_label=(Y // 2).tolist())
    assert "labels are from the column fine_label, not from coarse_label" in read_source(both).notes
    numbers = save(tmp_path / "c.parquet", names=None)
    assert read_source(numbers).names == ("0", "1", "2")


def test_broken_pictures_are_all_named_and_may_be_left_out(tmp_path: Path) -> None:
    pictures = [{"bytes": data, "path": None} for data in PICTURES]
    pictures[3] = {"bytes": b"no picture", "path": None}
    pictures[8] = {"bytes": None, "path": "elsewhere.png"}
    file = save(tmp_path / "x.parquet", image=pictures)
    with pytest.raises(DataError, match=r"2 pictures cannot be decoded: .*x\.parquet\[3\], .*x\.parquet\[8\]"):
        read_source(file)
    read = read_source(file, skip_bad=True)
    assert read.skipped == (f"{file}[3]", f"{file}[8]")
    assert len(read.train) + len(read.test) == 10
    pictures[3] = pictures[0]
    with pytest.raises(DataError, match=r"x\.parquet\[8\]: a picture without bytes; fix or remove it"):
        read_source(save(tmp_path / "x.parquet", image=pictures))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, r"has no known column of pictures \(columns: label\)"),
        ({"label": None}, r"has no known column of labels \(columns: image\)"),
        ({"label": [None, *Y[1:].tolist()]}, "is nan, not an integer"),
        ({"label": [-1, *Y[1:].tolist()]}, "label 0 is -1"),
        ({"label": ["", *"abcabcabcab"], "names": None}, "row 0: no label"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(save(tmp_path / "x.parquet", **changes))


def test_files_of_other_classes_or_of_no_part_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "train.parquet")
    save(tmp_path / "test.parquet", names=("a", "c", "b"))
    with pytest.raises(DataError, match="has other columns or class names than"):
        read_source(tmp_path)
    save(tmp_path / "test.parquet").rename(tmp_path / "more.parquet")
    with pytest.raises(DataError, match=r"more\.parquet: its name says no part"):
        read_source(tmp_path)


def test_damaged_files_are_one_error(tmp_path: Path) -> None:
    file = save(tmp_path / "x.parquet")
    data = file.read_bytes()
    random = np.random.default_rng(0)
    damaged = [data[: len(data) // 2], data[:3], b"", b"PAR1", data[:-8] + b"\xff\xff\xff\x7fPAR1"]
    damaged += [data[: i - 5] + bytes(10) + data[i + 5 :] for i in random.integers(5, len(data) - 9, 20)]
    for changed in damaged:
        file.write_bytes(changed)
        try:
            read_source(file)
        except DataError as error:
            assert str(tmp_path) in str(error) and "\n" not in str(error)  # noqa: PT017, PT018


def test_what_a_file_claims_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "x.parquet")
    for name, most, message in (
        ("_MAX_ROWS", 11, "claims 12 rows"),
        ("_MAX_GROUP_BYTES", 100, "a row group exceeds the limit of 100 bytes"),
        ("_MAX_FOOTER_BYTES", 100, "not a parquet file, or truncated"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(parquet_file, name, most)
            with pytest.raises(DataError, match=message):
                read_source(file)


def test_fewer_pictures_than_a_file_claims_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "x.parquet")
    groups = parquet_layout._of_group
    monkeypatch.setattr(parquet_layout, "_of_group", lambda *given: list(groups(*given))[1:])
    for skip_bad in (False, True):
        with pytest.raises(DataError, match="fewer pictures than the 12 it claims"):
            read_source(file, skip_bad=skip_bad)


def test_without_pyarrow_its_install_line_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "x.parquet")
    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.types"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=r'parquet files need pyarrow: pip install "clf-edge\[parquet\]"'):
        read_source(file)
