"""clf-export of a model file that exists: a page, the files of another tool, a repository."""

import json

import pytest

from clf_export.commands.export import main
from clf_runtime import Classifier
from clf_runtime.model.file import default_model


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = default_model().read_bytes()
    (tmp_path / "conv.onnx").write_bytes(data)
    return data


def test_a_file_becomes_what_is_asked_for(command, model, tmp_path):
    ended = command(main, "conv.onnx", "--page", "page", "--hub", "hub", "--for", "triton")
    assert ended.code == 0, ended.err
    assert (tmp_path / "page" / "model.onnx").read_bytes() == model
    assert (tmp_path / "hub" / "model.onnx").read_bytes() == model
    assert (tmp_path / "conv-triton" / "1" / "model.onnx").is_file()
    assert json.loads((tmp_path / "hub" / "labels.json").read_text()) == list(Classifier(model, "conv").card.names)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "RUN is a model file already"),
        (("--single",), "--single is for a page"),
        (("--ort-web", "x"), "--ort-web is for a page"),
        (("--for", "nonsense"), "no tool is called 'nonsense'; known are openvino"),
        (("--hub", "hub", "--out", "there"), "--out of a file that exists is for --for"),
        (("--hub", "hub", "--data", "digits"), "--data of a file that exists is for --for litert"),
        (("--hub", "hub", "--int8", "auto"), "--int8 is for the export of a run"),
        (("--hub", "hub", "--outliers", "x"), "--outliers is for the export of a run"),
        (("--hub", "hub", "--license", "MIT"), "--license is for the export of a run"),
        (("--hub", "hub", "--input", "photo"), "--input is for the export of a run"),
        (("--hub", "taken"), "taken: exists already"),
        (("--page", "taken"), "taken: exists already"),
    ],
)
def test_what_cannot_be_is_one_line_and_writes_nothing(command, model, tmp_path, arguments, problem):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    ended = command(main, "conv.onnx", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err
    assert ended.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conv.onnx", "taken"]


def test_a_file_that_is_missing_is_called_so(command, model):
    ended = command(main, "missing.onnx", "--hub", "hub")
    assert ended.code == 2
    assert ended.err.startswith("clf-export: missing.onnx: ")
    assert "run folder" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--onnx", "conv.onnx"), "--outliers is for RUN"),
        (("run", "--familiarity", "off"), "--familiarity off leaves it out"),
    ],
)
def test_outliers_are_not_silently_left_out(command, model, arguments, problem):
    ended = command(main, *arguments, "--outliers", "noise")
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--page", "taken"), "taken: exists already"),
        (("--page", "taken", "--overwrite"), "taken: exists already, and is not a page"),
        (("--page", "page.html"), "for one HTML file pass --single"),
        (("--page", "page", "--ort-web", "taken"), "taken: has no ort-wasm"),
        (("--hub", "taken", "--overwrite"), "taken: exists already, and holds more than a model"),
        (("--for", "triton"), "conv.adopted-triton: exists already"),
    ],
)
def test_a_place_that_is_taken_is_refused_before_anything_is_written(command, model, tmp_path, arguments, problem):
    for name in ("taken", "conv.adopted-triton"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
    ended = command(main, "--onnx", "conv.onnx", *arguments)  # which is refused itself, later
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err
    assert (tmp_path / "taken" / "mine").exists()
