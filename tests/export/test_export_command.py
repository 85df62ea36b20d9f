import shutil

import pytest

from clf_export.cli import main


@pytest.fixture
def run(make_run, tmp_path):
    folder = tmp_path / "conv-run"
    shutil.copytree(make_run("conv")[0], folder)
    return folder


def test_the_file_lies_beside_the_run_and_the_proof_is_shown(command, run):
    ended = command(main, run)
    assert ended.code == 0
    assert (run.parent / "conv-run.onnx").is_file()
    for text in ("largest difference, probability", "predictions that differ          0", "PyTorch", "sha256"):
        assert text in ended.out
    again = command(main, run)
    assert (again.code, again.out) == (2, "")
    assert "--overwrite" in again.err
    assert command(main, run, "--overwrite").code == 0


def test_a_folder_with_both_models_gives_both_files(command, make_run, tmp_path):
    for model in ("simple", "conv"):
        shutil.copytree(make_run(model)[0], tmp_path / "both" / model)
    assert command(main, tmp_path / "both", "--out", tmp_path / "files").code == 0
    assert sorted(p.name for p in (tmp_path / "files").iterdir()) == ["conv.onnx", "simple.onnx"]
    ended = command(main, tmp_path / "both", "--out", tmp_path / "z.onnx")
    assert (ended.code, ended.out) == (2, "")
    assert "there are 2 models; give a folder" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "no run folder"),
        ([], "Missing argument"),
        (["RUN", "--data", "nowhere"], "no such file or folder"),
        (["RUN", "--out", "/proc/nowhere/x.onnx"], "cannot be written"),
        (["RUN", "--nonsense"], "No such option"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(command, run, arguments, says):
    ended = command(main, *[run if a == "RUN" else a for a in arguments], "--quiet")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert says in ended.err
    assert not list(run.parent.glob("*.onnx"))
