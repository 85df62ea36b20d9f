"""Lists of pictures: which columns count, which pictures they mean, and that nothing outside of the folder is read."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from clf_runtime.datasets import csv_tables, pool
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Write = Callable[..., Path]
SIX = [f"pool/{name}{i}.png" for name in ("cat", "dog") for i in range(3)]


def write_list(file: Path, header: str, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    lines = ([header] if header else []) + [delimiter.join(map(str, row)) for row in rows]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


@pytest.fixture
def rows(tmp_path: Path, write_pictures: Write) -> list[tuple[str, str]]:
    """Rows of path and label for six pictures below tmp_path/pool, which are there."""
    write_pictures(tmp_path, *SIX)
    return [(path, path[5:8]) for path in SIX]


@pytest.mark.parametrize(
    ("header", "delimiter", "turn"),
    [
        ("filename,label", ",", lambda p, c: (p, c)),
        ("Label;Path;note", ";", lambda p, c: (c, p, "x")),
        ("image\tclass", "\t", lambda p, c: (f"./{p}", c)),
        ("file_name,category", ",", lambda p, c: (p.replace("/", "\\"), c)),
        ("id,breed", ",", lambda p, c: (Path(p).stem, f'"{c}"')),
        ("image_id,healthy", ",", lambda p, c: (Path(p).name, c)),
        ("", ",", lambda p, c: (p, c)),
        ("", ",", lambda p, c: (c, p)),
    ],
)
def test_lists_of_common_forms_give_the_same_images(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    header: str,
    delimiter: str,
    turn: Callable[[str, str], tuple[str, ...]],
) -> None:
    file = write_list(tmp_path / "labels.csv", header, [turn(*row) for row in rows], delimiter)
    for source in (tmp_path, file):
        read = read_source(source)
        assert (read.layout, read.names) == ("a list of pictures", ("cat", "dog"))
        assert sorted([*read.train.labels, *read.test.labels]) == [0, 0, 0, 1, 1, 1]
        assert not any("left out" in note for note in read.notes)
    (tmp_path / "labels.csv").unlink()
    folders = write_folders(tmp_path)
    assert read_source(folders).fingerprint == read.fingerprint


def write_folders(root: Path) -> Path:
    """The same pictures in class-named folders."""
    for path in SIX:
        (root / "by class" / path[5:8]).mkdir(parents=True, exist_ok=True)
        (root / path).rename(root / "by class" / path[5:8] / Path(path).name)
    return root / "by class"


def test_labels_count_as_people_do_and_a_byte_order_mark_is_none(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    text = "id,label\n" + "".join(f"{path},{'10' if label == 'cat' else '9'}\n" for path, label in rows)
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_source(tmp_path).names == ("9", "10")


def test_a_list_a_part(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    write_list(tmp_path / "trainLabels.csv", "id,label", [rows[0], rows[3]])
    write_list(tmp_path / "Val.csv", "id,label", rows[1:2])
    write_list(tmp_path / "labels_test.csv", "id,label", rows[4:5])
    read = read_source(tmp_path)
    assert (read.train.labels.tolist(), read.validation_images, read.test.labels.tolist()) == ([0, 1, 0], 1, [1])
    assert f"skipped, since no list names them: 2 pictures below {tmp_path}" in read.notes


def test_a_column_that_says_the_part(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    parts = ("train", "Test", "valid", "train", "testing", "train")
    write_list(tmp_path / "x.csv", "path,label,split", [(*row, part) for row, part in zip(rows, parts, strict=True)])
    read = read_source(tmp_path)
    assert (len(read.train), read.validation_images, len(read.test)) == (4, 1, 2)
    write_list(tmp_path / "x.csv", "path,label,split", [(*row, "holdout") for row in rows])
    with pytest.raises(DataError, match=r"line 2: 'holdout' is not a part; expected train, val or test"):
        read_source(tmp_path)


def test_as_kaggle_has_it_with_a_test_folder_and_a_form_for_answers(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, *(f"train/{i}.png" for i in range(1, 7)), *(f"test/{i}.png" for i in range(1, 4)))
    write_list(tmp_path / "trainLabels.csv", "id,label", [(i, "ab"[i % 2]) for i in range(1, 7)])
    write_list(tmp_path / "sampleSubmission.csv", "id,label", [(i, "a") for i in range(1, 4)])
    write_list(tmp_path / "test.csv", "id,width,height", [(i, 6, 8) for i in range(1, 4)])
    read = read_source(tmp_path)
    assert len(read.train) + len(read.test) == 6
    said = " | ".join(read.notes)
    assert "sampleSubmission.csv: skipped: it is a submission form" in said
    assert "test.csv: skipped: it has no column of labels" in said
    assert "no list names them: 3 pictures" in said


# What is not read


@pytest.mark.parametrize("path", ["../outside.png", "pool/../../outside.png", "/outside.png", "C:\\x.png", "..", ""])
def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path: Path, write_pictures: Write, path: str) -> None:
    write_pictures(tmp_path, "outside.png", "set/a.png", "set/b.png")
    write_list(tmp_path / "set" / "x.csv", "path,label", [("a.png", "a"), (path, "b")])
    with pytest.raises(DataError, match=r"x\.csv, line 3: .* leads out of the folder of the list"):
        read_source(tmp_path / "set")


def test_an_absolute_path_below_the_folder_is_that_picture(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    write_list(tmp_path / "x.csv", "path,label", [(tmp_path / path, label) for path, label in rows])
    assert read_source(tmp_path).names == ("cat", "dog")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "outside/a.png", "set/b.png", "set/c.png", "set/d.png")
    (tmp_path / "set" / "a.png").symlink_to(tmp_path / "outside" / "a.png")
    (tmp_path / "set" / "more").symlink_to(tmp_path / "outside")
    (tmp_path / "set" / "within.png").symlink_to(tmp_path / "set" / "b.png")
    for path in ("a.png", "more/a.png"):
        write_list(tmp_path / "set" / "x.csv", "path,label", [("b.png", "a"), (path, "b")])
        with pytest.raises(DataError, match=rf"1 picture of the list are missing: .*x\.csv, line 3 \({path}\)"):
            read_source(tmp_path / "set")
    within = [("b.png", "a"), ("within.png", "a"), ("c.png", "b"), ("d.png", "b")]
    write_list(tmp_path / "set" / "x.csv", "path,label", within)
    assert read_source(tmp_path / "set").names == ("a", "b")


def test_all_that_cannot_be_found_is_named_or_with_skip_bad_left_out(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    write_list(tmp_path / "x.csv", "path,label", [*rows, ("lost.png", "cat"), ("gone/1.png", "dog")])
    with pytest.raises(DataError, match=r"2 pictures of the list are missing: .*\(lost.png\), .*\(gone/1.png\)"):
        read_source(tmp_path)
    read = read_source(tmp_path, skip_bad=True)
    assert len(read.train) + len(read.test) == 6
    assert [name.split()[-1] for name in read.skipped] == ["(lost.png)", "(gone/1.png)"]


def test_an_id_of_a_part_is_no_picture_of_another(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "train/1.png", "train/2.png", "test/1.png", "test/2.png", "test/3.png")
    write_list(tmp_path / "train.csv", "id,label", [(i, "ab"[i % 2]) for i in (1, 2, 3)])
    with pytest.raises(DataError, match=r"1 picture of the list are missing: .*train\.csv, line 4 \(3\)"):
        read_source(tmp_path)
    (tmp_path / "train.csv").unlink()  # the pictures of a validation part may be beside those of the training part
    splits = [("train", "a"), ("train", "b"), ("val", "a")]
    (tmp_path / "test/3.png").rename(tmp_path / "train/3.png")
    write_list(tmp_path / "x.csv", "id,split,label", [(i, *split) for i, split in enumerate(splits, 1)])
    read = read_source(tmp_path)
    assert [read.place(i).rpartition("/")[2] for i in range(2)] == ["1.png", "2.png"]


def test_an_id_of_two_pictures_is_refused(tmp_path: Path, write_pictures: Write) -> None:
    write_pictures(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    write_list(tmp_path / "x.csv", "id,label", [(1, "a"), (2, "b")])
    with pytest.raises(DataError, match=r"line 2: '1' may be a/1\.png or b/1\.png; use the path"):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"path,label\na.png\n", "line 2: 1 columns, expected at least 2"),
        (b"path,label\na.png,\n", "line 2: no label"),
        (b"path,label\na.png," + b"x" * 300, "line 2: a label of 300 characters"),
        (b'path,label\n"a.png,a\n', "line 2: unbalanced quotes"),
        (b'path,label\n"a\n.png",a\n', "line 2: unbalanced quotes"),
        (b"path,label\na.png,\xff\n", "line 2: not text in UTF-8"),
        ("path,label\n".encode("utf-16"), "line 1: not text in UTF-8"),
        (b"path,label\na.png," + b"," * (1 << 20), "line 2: exceeds the limit of 16,384 bytes"),
        (b"," * (2 << 20), "line 1: exceeds the limit of 1,048,576 bytes"),
        (b"", "it is empty"),
        (b"path,label\n", "the list has no rows"),
        (b"width,height\n1,2\n", r"neither a column of paths or ids.*\(columns: width, height\)"),
        (b"path,width,height\na.png,1,2\n", "it has no column of labels"),
        (b"1,2,3\n", "it has no header"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_line(
    tmp_path: Path, write_pictures: Write, text: bytes, message: str
) -> None:
    write_pictures(tmp_path, "a.png")
    (tmp_path / "x.csv").write_bytes(text)
    for source in (tmp_path / "x.csv", tmp_path):
        with pytest.raises(DataError, match=message):
            read_source(source)


def test_lists_that_clash_are_refused(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    for names in (("a.csv", "b.csv"), ("train.csv", "labels.csv"), ("train.csv", "Training.csv")):
        for name in names:
            write_list(tmp_path / name, "path,label", rows)
        with pytest.raises(DataError, match=re.escape(f"2 tables ({', '.join(sorted(names))}); keep one")):
            read_source(tmp_path)
        for name in names:
            (tmp_path / name).unlink()


def test_a_test_class_that_was_not_trained_is_named(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    write_list(tmp_path / "train.csv", "path,label", rows[:5])
    write_list(tmp_path / "test.csv", "path,label", [(rows[5][0], "owl")])
    with pytest.raises(DataError, match=r"test\.csv: 'owl' is a class without training images"):
        read_source(tmp_path)


def test_more_files_or_classes_than_are_read_are_refused(
    tmp_path: Path, rows: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_list(tmp_path / "x.csv", "path,label", rows)
    monkeypatch.setattr(pool, "MAX_FILES", 3)
    with pytest.raises(DataError, match="more than 3 files"):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("stem", "part"),
    [
        *(("trainLabels", "train"), ("labels_val", "validation"), ("TEST", "test"), ("Training_set", "train")),
        *(
            ("constrained", None),
            ("train_test", None),
            ("latest", None),
            ("mnist_test", "test"),
            ("x-train-2", "train"),
        ),
    ],
)
def test_the_part_is_a_word_of_the_name(stem: str, part: str | None) -> None:
    assert csv_tables.part_of_words(stem) == part
