"""Tables with a column a pixel: with a line of names or without, whole numbers and fractions, greys and colours."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_arrays import make_images, make_labels

from clf_train.data.sources import read_source
from clf_train.errors import DataError

X, Y = make_images()[:, 0, :5, :5], make_labels()
PIXELS = [f"pixel{i}" for i in range(25)]


def save(file: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    lines = [",".join(map(str, row)) for row in ([header] if header else []) + list(rows)]
    file.write_text("\n".join(lines) + "\n")
    return file


def rows(images: np.ndarray = X, labels: Sequence[object] = Y.tolist()) -> list[list[object]]:
    return [[label, *image.ravel().tolist()] for label, image in zip(labels, images, strict=True)]


def sorted_images(file: Path) -> list[bytes]:
    read = read_source(file)
    return sorted(image.tobytes() for part in (read.train, read.test) for image in part.images)


@pytest.mark.parametrize(
    ("header", "turn"),
    [
        (["label", *PIXELS], lambda row: row),
        (["label", *(f"{i}x{j}" for i in range(1, 6) for j in range(1, 6))], lambda row: row),
        ([*PIXELS, "class"], lambda row: [*row[1:], row[0]]),
        (["", "label", *PIXELS], lambda row: [7, *row]),
        ([], lambda row: row),
    ],
)
def test_tables_of_common_forms_give_the_same_images(tmp_path: Path, header: list[str], turn) -> None:  # type: ignore[no-untyped-def]
    file = save(tmp_path / "x.csv", header, [turn(row) for row in rows()])
    for source in (file, tmp_path):
        read = read_source(source)
        assert (read.layout, read.dtype, read.image_shape) == ("a table of pixels", "uint8", (1, 5, 5))
        assert read.names == ("0", "1", "2")
    assert sorted_images(file) == sorted(image.tobytes() for image in X)


def test_a_table_a_part_with_labels_that_are_texts(tmp_path: Path) -> None:
    save(tmp_path / "mnist_train.csv", ["label", *PIXELS], rows(labels=["b", "a"] * 6))
    save(tmp_path / "mnist_test.csv", ["label", *PIXELS], rows(labels=["a", "b"] * 6))
    save(tmp_path / "sample_submission.csv", ["ImageId", "Label"], [[1, 0]])
    read = read_source(tmp_path)
    np.testing.assert_array_equal(read.train.images[:, 0], X)
    assert (read.names, read.train.labels.tolist(), read.test.labels.tolist()) == (("a", "b"), [1, 0] * 6, [0, 1] * 6)


def test_fractions_become_floats_and_colours_are_three_values_a_pixel(tmp_path: Path) -> None:
    fractions = read_source(save(tmp_path / "x.csv", ["label", *PIXELS], rows((X / 255).round(3))))
    assert (fractions.dtype, fractions.value_range) == ("float32", (0.0, 1.0))
    colours = make_images()[:, :, :3, :3].transpose(0, 2, 3, 1)
    file = save(tmp_path / "y.csv", ["label", *(f"pixel{i:04}" for i in range(27))], rows(colours))
    assert sorted_images(file) == sorted(image.transpose(2, 0, 1).tobytes() for image in colours)
    assert any("3x3 RGB pixels" in note for note in read_source(file).notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: [*lines, lines[-1] + ",1", lines[-1].rpartition(",")[0]],
            "line 15: 25 columns, expected at least 26",
        ),
        (lambda lines: [*lines, lines[-1].rpartition(",")[0] + ",x"], "line 14: a pixel that is not a"),
        (lambda lines: [*lines, lines[-1].rpartition(",")[0] + ",256"], "line 14: a pixel of 256; expected 0 to 255"),
        (
            lambda lines: [*lines, lines[-1].rpartition(",")[0] + f",{'9' * 30}"],
            "line 14: a pixel that is not a number",
        ),
        (
            lambda lines: [*lines, lines[-1].rpartition(",")[0] + f",{'9' * 9000}"],
            "line 14: a pixel that is not a number",
        ),
        (lambda lines: [*lines, "," + lines[-1].partition(",")[2]], "line 14: no label"),
        (lambda lines: [line.rpartition(",")[0] for line in lines], "24 columns of pixels, neither a greyscale"),
        (lambda lines: [*lines, lines[-1].rpartition(",")[0] + ",nan"], "contains NaN or infinity"),
        (lambda lines: [*lines, "7" * (1 + (1 << 20))], "line 14: exceeds the limit of 1,048,576 bytes"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    file = save(tmp_path / "x.csv", ["label", *PIXELS], rows())
    file.write_text("\n".join(change(file.read_text().splitlines())))
    with pytest.raises(DataError, match=message):
        read_source(file)


def test_a_field_as_long_as_a_line_takes_no_memory_for_every_other(tmp_path: Path) -> None:
    """numpy would give each text of an array the width of the longest: here 40,000 times 400,000 characters."""
    side = 200
    header = ["label", *(f"p{i}" for i in range(side * side))]
    row = ["1", "9" * 400_000, *["1"] * (side * side - 1)]
    (tmp_path / "x.csv").write_text(",".join(header) + "\n" + ",".join(row) + "\n")
    with pytest.raises(DataError, match="line 2: a pixel that is not a"):
        read_source(tmp_path / "x.csv")
