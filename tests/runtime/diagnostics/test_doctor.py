import dataclasses
import json
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from clf_runtime import errors
from clf_runtime.commands.doctor import main
from clf_runtime.diagnostics import doctor
from clf_runtime.diagnostics.subprocesses import Ended, run_python
from clf_runtime.diagnostics.troubleshooting import explain_end
from clf_runtime.engine import ort_library


def wheel(name, version="1.20.0", files=("onnxruntime/__init__.py",)):
    return SimpleNamespace(metadata={"Name": name}, version=version, files=files)


@pytest.fixture
def installed(monkeypatch):
    return lambda *wheels: monkeypatch.setattr(doctor.importlib.metadata, "distributions", lambda: iter(wheels))


@pytest.fixture
def children(monkeypatch):
    """Let every child of clf-doctor end as `end` says, by what it was to run."""

    def stand_in(end):
        monkeypatch.setattr(doctor, "run_python", lambda arguments, seconds: end(arguments))

    return stand_in


def printed(value):
    return Ended(0, f"noise of a wheel\n{json.dumps(value)}\n", "")


def good(arguments):
    """What the children of a healthy device with a GPU print."""
    if "-m" in arguments:
        golden = {"passed": True, "max_difference": 1e-7, "tolerance": 1e-4, "cases": [1], "provider": "CPU"}
        return printed(golden)
    if len(arguments) == 4:
        return printed([arguments[3], "CPUExecutionProvider"])
    providers = (
        ["CUDAExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"]
        if arguments[2] == "onnxruntime"
        else []
    )
    return printed({"version": "2.1.0", "file": "/x/__init__.py", "providers": providers})


def by_name(model):
    return {check.name: check for check in doctor.examine(model)}


def test_this_machine_is_well_and_the_model_passes(command, golden_model, tmp_path):
    (tmp_path / "m.onnx").write_bytes(golden_model())
    ended = command(main, tmp_path / "m.onnx")
    assert ended.err == ""
    lines = ended.out.splitlines()
    assert ended.code == 0, ended.out
    assert all(line.startswith(("ok ", "warning ")) for line in lines)
    for word in ("Python: CPython", "platform:", "numpy:", "wheels: onnxruntime", "CPUExecutionProvider: works"):
        assert any(word in line for line in lines), word
    assert "IR 8, opset ai.onnx 18; this onnxruntime runs it" in lines[-2]
    assert "self-test: passed: 3 golden cases on CPUExecutionProvider" in lines[-1]


def test_a_foreign_model_that_wants_to_be_told_of_is_no_problem(tiny_model, tmp_path):
    (tmp_path / "m.onnx").write_bytes(tiny_model(card=None, dtype="float32"))
    checks = by_name(tmp_path / "m.onnx")
    assert checks["model"].status == "ok"
    assert checks["self-test"].status == "warning"
    assert "has no model card" in checks["self-test"].text


def test_a_model_that_answers_otherwise_is_a_problem_and_exit_code_1(command, golden_model, tmp_path):
    def wrong(golden):
        return dataclasses.replace(golden, probabilities=golden.probabilities[::-1])

    (tmp_path / "m.onnx").write_bytes(golden_model(wrong))
    ended = command(main, tmp_path / "m.onnx", "--json")
    record = json.loads(ended.out)
    assert (ended.code, record["problems"]) == (1, 1)
    [problem] = [c for c in record["checks"] if c["status"] == "problem"]
    assert problem["name"] == "self-test"
    assert "2 of 3 golden cases differ" in problem["text"]
    assert "SHA-256" in problem["advice"]


def test_models_that_do_not_fit(command, tiny_model, tmp_path, children):
    file = tmp_path / "m.onnx"
    children(lambda arguments: run_python(arguments, 60) if "-m" in arguments else good(arguments))

    def last():
        return command(main, file).out.splitlines()[-1]

    assert "No such file" in last()
    file.write_bytes(b"nonsense")
    assert last().startswith("problem  model:")
    file.write_bytes(tiny_model().replace(b"\x08\x08", b"\x08\x63", 1))
    assert "IR 99, opset ai.onnx 18; not an ONNX model that onnxruntime" in last()
    assert "Unsupported model IR version: 99, max supported IR version" in last()
    assert last().endswith("pip install --upgrade onnxruntime, or export the model again")
    file.write_bytes(tiny_model())
    assert last().startswith("warning  self-test: the model has no golden cases")


def test_two_wheels_of_onnxruntime_are_found(installed, children, tiny_file):
    children(good)
    installed(wheel("onnxruntime_gpu"), wheel("onnxruntime"), wheel("numpy"), wheel("onnxruntime-extensions", files=()))
    check = by_name(tiny_file)["wheels"]
    assert check.status == "problem"
    assert check.text == "onnxruntime-gpu 1.20.0, onnxruntime 1.20.0: they overwrite each other"
    assert check.advice.startswith("pip uninstall -y onnxruntime-gpu onnxruntime, then pip install")


@pytest.mark.parametrize(
    ("wheels", "version", "status", "says"),
    [
        ([wheel("onnxruntime")], "1.20.0", "ok", "onnxruntime 1.20.0"),
        ([wheel("onnxruntime-gpu", "1.20.0+cu12", None)], "1.20.0", "ok", "onnxruntime-gpu"),
        ([wheel("onnxruntime", "1.19.2")], "1.20.0", "problem", "but 1.20.0 is imported"),
        ([wheel("onnxruntime-tools", files=None), wheel(None)], "1.20.0", "warning", "pip does not know its wheel"),
        ([], None, "problem", "no onnxruntime is installed"),
    ],
)
def test_the_wheel_and_what_is_imported_are_compared(installed, wheels, version, status, says):
    installed(*wheels)
    check = doctor.check_wheels(doctor.installed_engines(), {"version": version})
    assert check.status == status
    assert says in check.text


@pytest.mark.parametrize(
    ("ended", "says", "advice"),
    [
        (Ended(-signal.SIGILL, "", ""), "illegal instruction (SIGILL)", "an older release"),
        (Ended(0xC000001D, "", ""), "illegal instruction", "an older release"),
        (Ended(-signal.SIGSEGV, "", ""), "crashes (SIGSEGV)", "reinstall"),
        (Ended(-signal.SIGKILL, "", ""), "out of memory", "swap"),
        (Ended(0xC0000135, "", ""), "lacks a DLL", "Visual C++"),
        (Ended(None, "", ""), "timed out", "idle"),
        (Ended(1, "", "ModuleNotFoundError: No module named 'onnxruntime'\n"), "is not installed", "clf-edge[cpu]"),
        (Ended(1, "", "No module named 'coloredlogs'"), "needs coloredlogs", "reinstall"),
        (
            Ended(1, "", "ImportError: libcudnn.so.9: cannot open shared object file: No such file\n\n"),
            "libcudnn.so.9 is missing",
            "CUDA",
        ),
        (Ended(1, "", "ImportError: libgomp.so.1: cannot open shared object file"), "libgomp.so.1", "system package"),
        (
            Ended(1, "", "ImportError: /lib/libc.so.6: version `GLIBC_2.34' not found (required by x.so)"),
            "newer system, with GLIBC_2.34",
            "older release of onnxruntime",
        ),
        (Ended(1, "", "ImportError: DLL load failed while importing x"), "DLL", "Visual C++"),
        (Ended(1, "", "ImportError: numpy.core.multiarray failed to import"), "numpy 1", "numpy<2"),
        (Ended(1, "", "OSError: something else"), "fails: OSError: something else", "reinstall"),
        (Ended(3, "", ""), "fails: exit code 3", "reinstall"),
    ],
)
def test_every_end_of_an_import_is_a_sentence_with_what_to_do(ended, says, advice):
    text, what_to_do = explain_end(ended, "the import of onnxruntime", "onnxruntime")
    assert says in text
    assert advice in what_to_do
    assert "\n" not in text + what_to_do


def test_an_import_that_kills_its_process_is_a_problem_and_the_rest_is_told_to_wait(
    command, children, installed, tiny_file
):
    installed(wheel("onnxruntime"))
    children(lambda arguments: Ended(-4, "", "") if "onnxruntime" in arguments else good(arguments))
    ended = command(main, tiny_file)
    assert ended.code == 1
    lines = {line.split(":")[0].split()[-1]: line for line in ended.out.splitlines()}
    assert lines["onnxruntime"].startswith("problem  onnxruntime: the import of onnxruntime stops at an illegal")
    assert lines["model"].startswith("warning")
    assert "not tried; fix numpy and onnxruntime first" in lines["model"]
    assert "CPUExecutionProvider" not in ended.out


def test_a_real_child_that_dies_of_a_signal_is_seen(tmp_path):
    ended = run_python(["-c", "import os, signal; os.kill(os.getpid(), signal.SIGILL)"], 60)
    assert ended.code == -signal.SIGILL
    assert run_python(["-c", "import time; time.sleep(60)"], 0.2).code is None


def test_a_child_imports_nothing_from_the_folder_it_is_called_in(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    check, facts = doctor.check_import("numpy")
    assert check.status == "ok"
    assert not facts["file"].startswith(os.fspath(tmp_path))


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"version": None, "file": None, "providers": []}, "left of an earlier install"),
        ({"version": "1.15.1", "file": "x", "providers": []}, "1.15.1 is too old"),
    ],
)
def test_an_onnxruntime_that_is_none_or_too_old(children, facts, says):
    children(lambda arguments: printed(facts))
    check, _ = doctor.check_import("onnxruntime")
    assert check.status == "problem"
    assert says in check.text
    assert "pip install" in check.advice


def test_a_folder_left_of_an_uninstalled_onnxruntime_is_a_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace())
    with pytest.raises(errors.MissingExtraError, match="only an empty folder"):
        ort_library.import_onnxruntime()


@pytest.mark.parametrize(
    ("provider", "ended", "status", "says"),
    [
        ("CUDAExecutionProvider", printed({"ran": "CUDAExecutionProvider"}), "ok", "works: --device cuda"),
        (
            "CUDAExecutionProvider",
            printed({"failed": "CUDA does not work here: onnxruntime opened the session on X instead"}),
            "warning",
            "fails: onnxruntime opened the session on X instead",
        ),
        (
            "CUDAExecutionProvider",
            printed({"failed": "CUDA does not work here: libcublas.so.12: cannot open shared object file"}),
            "warning",
            "CUDA's library libcublas.so.12 is missing",
        ),
        ("CPUExecutionProvider", printed({"failed": "m.onnx: not an ONNX model"}), "problem", "not an ONNX model"),
        ("CUDAExecutionProvider", Ended(-11, "", ""), "warning", "crashes (SIGSEGV)"),
        ("CPUExecutionProvider", Ended(-4, "", ""), "problem", "illegal instruction"),
        ("TensorrtExecutionProvider", Ended(1, "", "no"), "ok", "no; only --device tensorrt would use it"),
        ("OpenVINOExecutionProvider", printed({"ran": "OpenVINOExecutionProvider"}), "ok", "works: --device openvino"),
    ],
)
def test_a_provider_works_if_a_session_on_it_answers(children, provider, ended, status, says):
    children(lambda arguments: ended)
    check = doctor.check_provider(provider)
    assert check.status == status
    assert says in check.text


def test_wrong_usage_is_one_line_and_exit_code_2(command):
    for arguments, says in ((["a", "b"], "unexpected extra argument"), (["--nonsense"], "No such option")):
        ended = command(main, *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert says in ended.err
