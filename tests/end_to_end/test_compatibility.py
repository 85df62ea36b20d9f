"""The compatibility script on a tiny model, with the engines that are installed here: nothing is installed for it."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from clf_runtime import Classifier, ModelCard
from clf_runtime.model.familiarity import Familiarity
from clf_runtime.model.records import Golden

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "benchmarks"
PARTS = ("compatibility", "engine_environments", "golden_differences")
MODULES = {"reference": "onnx", "openvino": "openvino", "opencv": "cv2"}
COLOURS = ("red", "green", "blue")


@pytest.fixture
def loaded(monkeypatch):
    """Imports one of the script's modules, which import each other, anew."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for name in PARTS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in PARTS:
        sys.modules.pop(name, None)


@pytest.fixture
def compatibility(loaded):
    return loaded("compatibility")


@pytest.fixture
def environments(loaded):
    return loaded("engine_environments")


def program(file, lines):
    file.parent.mkdir(exist_ok=True)
    file.write_text(lines, "utf-8")
    file.chmod(0o755)
    return file


@pytest.fixture
def here(compatibility, monkeypatch, tmp_path):
    """Instead of making environments, take this one."""
    programs = tmp_path / "bin"
    program(programs / "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    run = f"import sys; sys.path.insert(0, '{ROOT / 'runtime'}'); from clf_runtime.commands.predict import main; main()"
    program(programs / "clf-predict", f'#!/bin/sh\nexec "{sys.executable}" -c "{run}" "$@"\n')
    environment = compatibility.Environment(programs, "1.2.3", "4.5.6", "7.8.9")
    monkeypatch.setattr(compatibility, "make_environment", lambda *_: environment)
    return compatibility


@pytest.fixture
def golden_file(tiny_model, tmp_path):
    """A tiny model in a file, with a golden case a colour; `off` is added to what is expected of the first."""

    def make(off=0.0, layout="NCHW", golden=True):
        images = np.zeros((3, 3, 8, 8), np.uint8)
        images[np.arange(3), np.arange(3)] = 200
        if layout == "NHWC":
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        rows = Classifier(tiny_model(layout=layout), "tiny").probabilities(images)
        rows[0] += np.array([-off, off, 0], np.float32)
        cases = Golden(images.tobytes(), tuple(map(tuple, rows.tolist())), 1e-4, "CPUExecutionProvider", 1e-7)
        card = ModelCard(
            "tiny", COLOURS, (3, 8, 8), "uint8", (0.0, 255.0), layout=layout, golden=cases if golden else None
        )
        file = tmp_path / "tiny.onnx"
        file.write_bytes(tiny_model(layout=layout, card=card))
        return file

    return make


def run(module, command, *arguments):
    ended = command(lambda: sys.exit(module.main()), *arguments)
    return ended, json.loads(ended.out.splitlines()[-1])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("engine", ["oldest", "reference", "openvino", "opencv"])
def test_an_engine_that_answers_alike_passes(here, command, golden_file, engine, layout):
    if (module := MODULES.get(engine)) and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed here")
    ended, record = run(here, command, golden_file(layout=layout), "--engine", engine)
    assert (ended.code, record["passed"]) == (0, True)
    [result] = record["results"]
    assert (result["engine"], result["model"], result["problem"]) == (engine, "tiny.onnx", None)
    assert result["difference"] < 1e-6
    assert (result["version"], result["numpy"], result["python"]) == ("1.2.3", "4.5.6", "7.8.9")
    assert ended.out.splitlines()[1].endswith("passed")


@pytest.mark.parametrize(("said", "problem"), [(0.5, None), (0.55, "the familiarity differs by 5.0e-02")])
def test_the_second_output_is_compared_too(here, command, tiny_model, tmp_path, said, problem):
    images = np.full((2, 3, 8, 8), 51, np.uint8)
    images[:, 1] = 102  # 0.4 of 255
    rows = Classifier(tiny_model(), "tiny").probabilities(images)
    golden = Golden(images.tobytes(), tuple(map(tuple, rows.tolist())), 1e-4, "CPUExecutionProvider", 1e-7)
    known = Familiarity(0.25, 100, True, 10, ("noise",), (1.0,), (0.4, said - 0.1), tolerance=0.01)
    card = ModelCard("tiny", COLOURS, (3, 8, 8), "uint8", (0.0, 255.0), golden=golden, familiarity=known)
    file = tmp_path / "familiar.onnx"
    file.write_bytes(tiny_model(card=card, familiar=True))
    ended, record = run(here, command, file, "--engine", "reference")
    assert (ended.code, record["results"][0]["problem"]) == (0 if problem is None else 1, problem)
    assert (", familiarity " in ended.out) == (problem is None)


@pytest.mark.parametrize("engine", ["newest", "reference"])
def test_one_that_answers_otherwise_fails(here, command, golden_file, engine):
    ended, record = run(here, command, golden_file(off=2e-4), "--engine", engine)
    assert (ended.code, record["passed"]) == (1, False)
    assert record["results"][0]["difference"] == pytest.approx(2e-4, rel=0.01)
    assert "2.0e-04     1.0e-04  FAILED: differs by more than the tolerance" in ended.out


def test_a_file_that_proves_nothing_fails(here, command, golden_file, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    ended, record = run(here, command, golden_file(golden=False), damaged, "--engine", "reference")
    assert ended.code == 1
    assert [r["difference"] for r in record["results"]] == [None, None]
    assert "has no golden cases" in record["results"][0]["problem"]
    assert "not an ONNX model" in record["results"][1]["problem"]


@pytest.mark.parametrize(
    ("arguments", "absent", "code"),
    [
        (("reference",), True, 1),
        (("openvino",), True, 0),
        (("oldest", "--if-there"), True, 0),
        (("oldest", "--if-there"), False, 1),  # clf-edge is what cannot be installed
    ],
)
def test_only_a_required_engine_that_is_not_to_be_had_fails(
    compatibility, monkeypatch, command, golden_file, arguments, absent, code
):
    def refuse(*_):
        raise (compatibility.Absent if absent else compatibility.Refusal)("no index can be reached")

    monkeypatch.setattr(compatibility, "make_environment", refuse)
    ended, record = run(compatibility, command, golden_file(), "--engine", *arguments)
    assert (ended.code, record["passed"]) == (code, code == 0)
    assert record["results"][0]["problem"] == "no index can be reached"
    assert ended.err == f"{arguments[0]} IS NOT TRIED: no index can be reached\n"


def test_a_wheel_that_is_not_to_be_had_is_no_fault_of_ours(environments, monkeypatch, tmp_path):
    for failing, error in (("onnxruntime==1.17.0", environments.Absent), (environments.OURS, environments.Refusal)):

        def call(command, failing=failing):
            if failing in command:
                raise environments.Refusal("no such wheel")
            return "3.11"

        monkeypatch.setattr(environments, "call", call)
        with pytest.raises(environments.Refusal, match="no such wheel") as raised:
            environments.make_environment("oldest", tmp_path, "python")
        assert raised.type is error


def test_a_python_is_looked_for_that_has_wheels_of_the_engine(environments, monkeypatch, tmp_path, capsys):
    new = program(tmp_path / "bin" / "new", "#!/bin/sh\necho 3.99\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(environments.Absent, match=r"needs Python 3\.12 or 3\.11; neither .*new nor the PATH has it"):
        environments.find_python("oldest", str(new))
    program(tmp_path / "bin" / "python3.12", "#!/bin/sh\necho a shim without a Python >&2; exit 127\n")
    program(tmp_path / "bin" / "python3.11", "#!/bin/sh\necho 3.11\n")
    assert environments.find_python("oldest", str(new)) == "python3.11"
    assert f"oldest has no wheel for {new}: using {tmp_path / 'bin' / 'python3.11'}" in capsys.readouterr().err
    assert environments.find_python("newest", str(new)) == str(new)


def test_the_last_words_of_a_command_that_fails_are_told(environments, tmp_path):
    with pytest.raises(environments.Refusal, match="exit code 3: the reason"):
        environments.call([program(tmp_path / "bin" / "x", "#!/bin/sh\necho 'the reason\n' >&2; exit 3\n")])
    with pytest.raises(environments.Refusal, match="ended by signal 9: no output"):
        environments.call([program(tmp_path / "bin" / "y", "#!/bin/sh\nkill -9 $$\n")])
    with pytest.raises(environments.Refusal, match="No such file"):
        environments.call([tmp_path / "absent"])
