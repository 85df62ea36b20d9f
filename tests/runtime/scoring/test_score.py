import io
import json
import os
import shutil
import tarfile
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from clf_runtime import Classifier, ImageError, MissingExtraError, ScoringError, score
from clf_runtime.commands.predict import main as predict
from clf_runtime.commands.score import main as score_command
from clf_runtime.scoring import images, plan
from clf_runtime.scoring.images import answer_partition
from clf_runtime.scoring.storage import File

pytestmark = pytest.mark.usefixtures("here")


def png(colour):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_every_image_has_one_row_the_record_of_predict(photos, tiny_file, tmp_path, rows, command, form):
    done = score(photos, tmp_path / "out", tiny_file, form=form, files_per_partition=3, top=2)
    assert (done.done, done.partitions, done.images, done.errors) == (3, 3, 8, 1)
    found = rows(tmp_path / "out")
    plan_lines = (tmp_path / "out" / "_plan.jsonl").read_text().splitlines()
    files = [path for line in plan_lines for path, _, _ in json.loads(line)[2]]
    printed = command(predict, *files, "--model", tiny_file, "--json", "--top", 2, "--quiet").out
    expected = [json.loads(line) for line in printed.splitlines()]
    for row in expected:
        row["model_sha256"] = Classifier.load(tiny_file).sha256
    assert found == expected
    assert [row["name"] for row in found] == ["blue", "red", "blue", None, "green", "red", "red", "red"]
    assert found[3]["error"].startswith(f"{photos}/green/bad.png: cannot be decoded")


def test_only_what_is_missing_is_done_again(photos, tiny_file, tmp_path, rows):
    out = tmp_path / "out"
    score(photos, out, tiny_file, files_per_partition=2)
    before = rows(out)
    stamps = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*")}
    (out / "part-00000001.parquet").unlink()
    (out / ".part-00000001.parquet.123.partial").write_bytes(b"half")
    done = score(photos, out, tiny_file, files_per_partition=2)
    assert (done.done, done.partitions, done.images) == (4, 4, 2)
    assert rows(out) == before
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*")}
    assert {name for name in stamps if stamps[name] != after[name]} == {"part-00000001.parquet"}
    assert not list(out.glob(".*.partial"))
    assert score(photos, out, tiny_file, files_per_partition=2).images == 0


def test_another_model_source_or_option_is_refused_in_the_same_folder(photos, tiny_file, tiny_model, tmp_path):
    out = tmp_path / "out"
    score(photos, out, tiny_file)
    (tmp_path / "other.onnx").write_bytes(tiny_model(size=(4, 4)))
    with pytest.raises(ScoringError, match="results of another model"):
        score(photos, out, tmp_path / "other.onnx")
    with pytest.raises(ScoringError, match="begun with top 1, not 2"):
        score(photos, out, tiny_file, top=2)
    with pytest.raises(ScoringError, match="begun with files_per_partition 1000, not 10"):
        score(photos, out, tiny_file, files_per_partition=10)
    with pytest.raises(ScoringError, match="begun with the format parquet"):
        score(photos, out, tiny_file, form="jsonl")
    with pytest.raises(ScoringError, match=r"holds the results of .*photos"):
        score(photos / "red", out, tiny_file)
    os.utime(photos / "red" / "same.png", (1, 1))
    with pytest.raises(ScoringError, match="has changed since: then 7 files"):
        score(photos, out, tiny_file)


def test_folders_that_are_not_for_results(photos, tiny_file, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("")
    with pytest.raises(ScoringError, match=r"contains notes, but no _manifest\.json"):
        score(photos, tmp_path / "other", tiny_file)
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["notes"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ScoringError, match="is a file, not a folder"):
        score(photos, tmp_path / "file", tiny_file)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "_manifest.json").write_text("[1")
    with pytest.raises(ScoringError, match="damaged"):
        score(photos, tmp_path / "damaged", tiny_file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="contains no images"):
        score(tmp_path / "empty", tmp_path / "new" / "out", tiny_file)
    assert not (tmp_path / "new").exists()


def test_results_inside_of_the_source_are_left_out_also_behind_a_link(photos, tiny_file, tmp_path, rows):
    link = tmp_path / "link"
    link.symlink_to(photos, target_is_directory=True)
    for source, out in ((photos, photos / "out"), (link, photos / "other"), (photos, link / "third")):
        for expected in (8, 0):
            assert score(source, out, tiny_file).images == expected
        assert len(rows(out)) == 8
        shutil.rmtree(out)


@pytest.mark.parametrize("out", ["photos", "link", ".", "photos/red"])
def test_results_are_not_put_around_the_source(photos, tiny_file, tmp_path, command, out):
    (tmp_path / "link").symlink_to(photos, target_is_directory=True)
    source = photos / "red" / "same.png" if out == "photos/red" else photos
    before = sorted(tmp_path.rglob("*"))
    ended = command(score_command, source, "--out", tmp_path / out, "--model", tiny_file, "--quiet")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "the source" in ended.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_that_was_tampered_with_is_refused(photos, tiny_file, tmp_path):
    score(photos, tmp_path / "out", tiny_file)
    (tmp_path / "out" / "part-00000000.parquet").unlink()
    plan_file = tmp_path / "out" / "_plan.jsonl"
    plan_file.write_text(plan_file.read_text().replace("same", "name"))
    with pytest.raises(ScoringError, match=r"_plan\.jsonl: damaged"):
        score(photos, tmp_path / "out", tiny_file)


def test_without_pyarrow_only_json_lines(photos, tiny_file, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'"clf-edge\[parquet\]", or ask for --format jsonl'):
        score(photos, tmp_path / "out", tiny_file)
    assert score(photos, tmp_path / "out", tiny_file, form="jsonl").images == 8


def test_a_missing_package_stops_all_and_is_no_row(photos, tiny_file, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.PngImagePlugin", None)
    with pytest.raises(MissingExtraError, match="needs Pillow"):
        score(photos, tmp_path / "out", tiny_file)
    assert not list((tmp_path / "out").glob("part-*"))


@pytest.fixture
def classifier(tiny_model):
    return Classifier(tiny_model(), "tiny")


def answers(classifier, path, split=0, of=1):
    partition = plan.Partition((File(str(path), path.stat().st_size, 0),), split, of)
    return list(answer_partition(classifier, partition, distribution=False, reject_below=0.0, reject=None))


def make_tar(path, names, mode="w"):
    with tarfile.open(path, mode) as archive:
        for i, name in enumerate(names):
            data = b"bad" if "bad" in name else png([(200, 0, 0), (0, 200, 0)][i % 2])
            info = tarfile.TarInfo(name)
            info.size = len(data) if name.endswith(".png") else 0
            archive.addfile(info, io.BytesIO(data if info.size else b""))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_the_splits_of_a_tar_have_each_picture_once(classifier, tmp_path, monkeypatch, mode):
    names = [f"{'d' * (i % 3) * 60}/{i:03}.{'png' if i % 4 else 'json'}" for i in range(40)] + ["bad.png", "001.png"]
    make_tar(tmp_path / "a.tar", names, mode)
    whole = answers(classifier, tmp_path / "a.tar")
    assert [a.image for a in whole] == [f"{tmp_path}/a.tar/{name}" for name in names if name.endswith("png")]
    assert [a.error is None for a in whole] == [True] * 30 + [False, True]
    monkeypatch.setattr(images, "SPLIT_BYTES", (tmp_path / "a.tar").stat().st_size // 5)
    parts = [answers(classifier, tmp_path / "a.tar", k, 6) for k in range(6)]
    assert [a.image for part in parts for a in part] == [a.image for a in whole]
    assert mode != "w" or all(parts[:4])


def test_a_truncated_tar_has_what_is_before_and_one_error(classifier, tmp_path, monkeypatch):
    make_tar(tmp_path / "a.tar", [f"{i}.png" for i in range(20)])
    size = 20 * 1024
    monkeypatch.setattr(images, "SPLIT_BYTES", size // 4)
    with open(tmp_path / "a.tar", "r+b") as stream:
        stream.seek(11 * 1024)
        stream.write(b"x" * 512)  # a header
    found = [a for k in range(5) for a in answers(classifier, tmp_path / "a.tar", k, 5)]
    assert [a.image for a in found if a.error is None] == [f"{tmp_path}/a.tar/{i}.png" for i in range(11)]
    assert [a.image for a in found if a.error is not None] == [f"{tmp_path}/a.tar"]


def test_a_tar_or_parquet_without_pictures_has_one_row(classifier, tmp_path):
    make_tar(tmp_path / "a.tar", ["x.json"])
    parquet.write_table(pyarrow.table({"image": pyarrow.array([], pyarrow.binary())}), tmp_path / "b.parquet")
    parquet.write_table(pyarrow.table({"number": [1, 2]}), tmp_path / "c.parquet")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no PAR1")
    for name, said in {
        "a.tar": "no picture",
        "b.parquet": "no picture",
        "c.parquet": "no known column",
        "d.parquet": "p",
    }.items():
        (answer,) = answers(classifier, tmp_path / name)
        assert said in str(answer.error)
        assert answer.image == str(tmp_path / name)


def test_the_pictures_of_a_zip_have_a_row_each(classifier, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("b/2.png", "b/deep/1.PNG", "a.png", "notes.txt", "__MACOSX/b/._2.png"):
            archive.writestr(name, png((200, 0, 0)))
        archive.writestr("c.png", b"no picture")
    file = tmp_path / "a.zip"
    found = answers(classifier, file)
    names = ("a.png", "b/2.png", "b/deep/1.PNG", "c.png")
    assert [answer.image for answer in found] == [f"{file}/{name}" for name in names]
    assert [answer.prediction and answer.prediction.name for answer in found] == ["red"] * 3 + [None]
    assert str(found[3].error).startswith(f"{file}/c.png: ")
    for data, said in ((b"PK\x05\x06" + bytes(18), "contains no picture"), (b"PK\x03\x04 damaged", "a.zip")):
        file.write_bytes(data)
        [answer] = answers(classifier, file)
        assert said in str(answer.error)


def test_the_splits_of_a_parquet_have_each_row_once(classifier, tmp_path):
    pictures = [{"bytes": png((200, 0, 0)) if i % 5 else None, "path": "../../etc/passwd"} for i in range(23)]
    parquet.write_table(pyarrow.table({"image": pictures}), tmp_path / "a.parquet", row_group_size=4)
    found = [a for k in range(3) for a in answers(classifier, tmp_path / "a.parquet", k, 3)]
    assert [a.index for a in found] == list(range(23))
    assert [a.index for a in found if a.error is not None] == [0, 5, 10, 15, 20]
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 40] = b"x" * 40
    (tmp_path / "a.parquet").write_bytes(data)
    found = answers(classifier, tmp_path / "a.parquet")
    assert [a.index for a in found] == list(range(23))


def test_a_large_array_is_read_in_constant_memory(classifier, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5000, 3, 8, 8), np.uint8))
    assert [a.index for a in answers(classifier, tmp_path / "a.npy")] == list(range(5000))


def test_a_file_that_vanished_is_a_row(classifier, tmp_path):
    partition = plan.Partition((File(str(tmp_path / "x.png"), 5, 0), File(str(tmp_path / "x.tar"), 5, 0)))
    found = list(answer_partition(classifier, partition, distribution=False, reject_below=0.0, reject=None))
    assert [str(a.error) for a in found] == [
        f"{tmp_path}/x.{kind}: cannot be read: No such file or directory" for kind in ("png", "tar")
    ]


def test_names_that_are_not_utf8_are_escaped(tiny_file, tmp_path, rows):
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)
    with open(folder + b"/\xff.png", "wb") as stream:
        stream.write(png((0, 0, 200)))
    score(tmp_path / "odd", tmp_path / "out", tiny_file)
    (row,) = rows(tmp_path / "out")
    assert (row["image"], row["name"]) == (f"{tmp_path}/odd/\\xff.png", "blue")


def test_a_model_may_be_an_address_on_the_hub(command, photos, tmp_path):
    ended = command(score_command, photos, "--out", tmp_path / "out", "--model", "hf://nobody", "--format", "jsonl")
    assert (ended.code, ended.out) == (2, "")
    assert "'hf://nobody': not the address of a model on the Hugging Face Hub" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_of_results(command, photos, tmp_path):
    (tmp_path / "taken").write_text("mine")
    ended = command(score_command, photos, "--out", tmp_path / "taken", "--format", "jsonl")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"clf-score: {tmp_path / 'taken'}: cannot be written: ")
