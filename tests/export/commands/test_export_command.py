import shutil

import pytest

from clf_export import export as exporting
from clf_export.commands.export import main
from clf_export.int8 import quantize
from clf_runtime import Classifier
from clf_runtime.commands.predict import main as predict

pytestmark = pytest.mark.usefixtures("exported_once")
QUICK = ("--familiarity", "off")  # where it is not what is tested


@pytest.fixture
def run(make_run, tmp_path):
    folder = tmp_path / "conv-run"
    shutil.copytree(make_run("conv")[0], folder)
    return folder


def test_the_file_lies_beside_the_run_and_the_proof_is_shown(command, run):
    int8 = run.with_name(f"{run.name}.int8.onnx")
    int8.write_bytes(b"an earlier one")
    ended = command(main, run)
    assert ended.code == 0
    assert f"{int8}: is from an earlier export and was not updated" in ended.err
    assert (run.parent / "conv-run.onnx").is_file()
    for text in ("max. probability difference", "predictions that differ          0", "PyTorch", "sha256"):
        assert text in ended.out
    again = command(main, run)
    assert (again.code, again.out) == (2, "")
    assert "--overwrite" in again.err
    page = command(main, run, "--page", run.parent / "page")
    assert (page.code, page.out) == (2, "")
    assert "conv-run.onnx: exists already; pass it in place of the run folder" in page.err


def test_paths_are_printed_as_they_were_given(command, run, monkeypatch):
    monkeypatch.chdir(run.parent)
    ended = command(main, run.name, *QUICK)
    assert ended.err.startswith("clf-export: exporting conv-run, ")
    assert ended.out.startswith("conv-run.onnx: ")
    ended = command(main, run.name, "--out", "files", *QUICK)
    assert ended.out.startswith("files/conv-run.onnx: ")
    monkeypatch.chdir(run)
    ended = command(main, ".", "--overwrite", *QUICK)  # which has no name of its own
    assert (ended.code, ended.out.partition(": ")[0]) == (0, str(run.with_name("conv-run.onnx")))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "no such file or folder"),
        (["nowhere.onnx", "--page", "page"], "nowhere.onnx: no such file or folder"),
        ([], "Missing argument"),
        (["RUN", "--data", "nowhere"], "no such file or folder"),
        (["RUN", "--out", "/proc/nowhere/x.onnx"], "cannot be written"),
        (["RUN", "--out", "/proc/x.onnx"], "clf-export: /proc/x.onnx: cannot be written"),
        (["RUN", "--out", "/dev/null", "--overwrite"], "pass a folder, or a name that ends in .onnx"),
        (["RUN", "--out", ""], "the argument after --out is empty"),
        (["RUN", "--nonsense"], "No such option"),
        (["RUN", "--int8", "yes"], "is not one of"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(command, run, arguments, says):
    ended = command(main, *[run if a == "RUN" else a for a in arguments], "--quiet", *QUICK)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert says in ended.err
    assert not list(run.parent.glob("*.onnx"))


def test_an_output_below_a_file_is_refused_before_the_images_are_read(command, run, monkeypatch):
    monkeypatch.setattr("clf_export.inputs.find_test_images", lambda *_: pytest.fail("read the images"))
    ended = command(main, run, "--out", run / "run.json" / "x.onnx")
    said = f"clf-export: {run}/run.json/x.onnx: cannot be written: {run}/run.json is a file, not a folder; "
    assert (ended.code, ended.err) == (2, said + "choose another --out\n")


def test_the_verdict_on_int8_is_printed(command, run, monkeypatch):
    monkeypatch.setattr(quantize, "_SETTINGS", quantize._SETTINGS[:1])
    monkeypatch.setattr(quantize, "_SECONDS", 0.02)
    ended = command(main, run, "--int8", "auto", "--license", "MIT", *QUICK)
    assert ended.code == 0
    for text in ("int8, best of", "largest drop of a class", "speed, batch 1 and 256", "verdict", "is recommended"):
        assert text in ended.out
    assert "license:        MIT" in command(predict, "--card", "--model", run.parent / "conv-run.onnx").out


def test_what_is_refused_is_shown_in_a_table_and_kept_if_asked(command, run, monkeypatch):
    build = exporting.build_graph
    monkeypatch.setattr(exporting, "build_graph", lambda net, n, t, *rest: build(net, n, 2 * t, *rest))
    ended = command(main, run, "--keep-rejected", "--quiet", *QUICK)
    assert (ended.code, ended.out) == (2, "")
    *table, last = ended.err.splitlines()
    assert sum("FAILED" in line for line in table) >= 2
    assert last.startswith("clf-export: onnxruntime's outputs differ from PyTorch's, so no file is written")
    assert [p.name for p in run.parent.glob("*.onnx")] == ["conv-run.rejected.onnx"]


def test_several_runs_are_exported_together_or_not_at_all(command, make_run, tmp_path, monkeypatch):
    both, build = tmp_path / "both", exporting.build_graph
    for model in ("simple", "conv"):
        shutil.copytree(make_run(model)[0], both / model)
    before = sorted(both.rglob("*"))

    def refused(says, *arguments):
        ended = command(main, both, *arguments, "--quiet", *QUICK)
        assert (ended.code, ended.out) == (2, "")
        assert says in ended.err

    (both / "conv.onnx").touch()  # the second of them
    monkeypatch.setattr(exporting, "build_graph", lambda *arguments: pytest.fail("it was exported all the same"))
    refused("conv.onnx: exists already")
    (both / "conv.onnx").rename(both / "conv.int8.onnx")
    refused("conv.int8.onnx: exists already", "--int8", "auto")
    (both / "conv.int8.onnx").unlink()
    weights = both / "conv" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    refused("weights.safetensors: not what the training wrote")
    weights.write_bytes(whole)
    refused("no run here is of the model 'nets:tiny'", "--model", "nets:tiny")
    refused("no run here is of the model ''", "--model", ",")
    for name in ("z.onnx", "z.ONNX"):
        refused("there are 2 models; pass a folder", "--out", tmp_path / name)

    nets = []  # the second fails its proof
    monkeypatch.setattr(
        exporting, "build_graph", lambda net, n, t, *rest: build(net, n, (1 + len(nets)) * t, *nets.append(1) or rest)
    )
    refused("outputs differ from PyTorch's")
    nets.clear()
    refused("outputs differ from PyTorch's", "--out", tmp_path / "files" / "deep")
    assert not (tmp_path / "files").exists()
    assert sorted(both.rglob("*")) == before
    monkeypatch.setattr(exporting, "build_graph", build)
    assert command(main, both, "--out", tmp_path / "files", "--quiet", *QUICK).code == 0
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["conv.onnx", "simple.onnx"]


def test_runs_of_different_images_are_each_exported_by_their_own(command, make_run, tmp_path):
    shutil.copytree(make_run("simple")[0], tmp_path / "both" / "simple")
    shutil.copytree(make_run("conv", "float32")[0], tmp_path / "both" / "conv")
    assert command(main, tmp_path / "both", *QUICK).code == 0
    cards = {name: Classifier.load(tmp_path / "both" / f"{name}.onnx").card for name in ("simple", "conv")}
    assert {name: card.dtype for name, card in cards.items()} == {"simple": "uint8", "conv": "float32"}
    for name, dtype in (("simple", "uint8"), ("conv", "float32")):
        assert cards[name].data_fingerprint == make_run(name, dtype)[1].fingerprint
