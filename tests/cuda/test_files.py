"""A run that was made on CUDA is exported, and files run on CUDA: by Python, and by the commands."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clf_export.export import export_run
from clf_runtime import Classifier
from clf_runtime.commands.bench import main as bench
from clf_runtime.commands.doctor import main as doctor
from clf_runtime.commands.eval import main as evaluate
from clf_runtime.commands.predict import main as predict
from clf_runtime.diagnostics import bench as benching
from clf_runtime.errors import DeviceError
from clf_runtime.evaluation.self_test import self_test

pytestmark = pytest.mark.cuda
SHIPPED = sorted((Path(__file__).parents[2] / "artifacts").glob("*.onnx"))
TOLERANCE = 1e-4  # of a probability, as the golden cases have it


@pytest.fixture(scope="module")
def file(conv_run, digits, tmp_path_factory):
    """The file of a conv that was trained on the device, which its export proved on the CPU."""
    folder, run = conv_run
    file = tmp_path_factory.mktemp("exported") / "conv.onnx"
    made = export_run(folder, digits, file, familiarity="off")
    assert made.model.card.test_accuracy == pytest.approx(run.test.accuracy, abs=2 / len(digits.test))
    return file


def test_a_file_gives_the_cpu_s_answers(file, digits, device, provider):
    here, there = (Classifier.load(file, device=name) for name in ("cpu", device))
    assert there.provider == provider
    one, other = (classifier.probabilities(digits.test.images) for classifier in (here, there))
    np.testing.assert_allclose(other, one, atol=TOLERANCE, rtol=0)  # not with TF32
    first = there.predict(digits.test.images[0], distribution=True)
    assert first.provider == provider
    np.testing.assert_allclose(first.distribution, one[0], atol=TOLERANCE, rtol=0)
    assert [len(there.predict_batch(digits.test.images[:n])) for n in (0, 1, 2, 300)] == [0, 1, 2, 300]


def test_tf32_is_on_request_only(file, digits, device, provider):
    exact, fast = (Classifier.load(file, device=device, tf32=tf32) for tf32 in (False, True))
    one, other = (classifier.probabilities(digits.test.images) for classifier in (exact, fast))
    np.testing.assert_allclose(other, one, atol=0.05, rtol=0)
    if device == "cpu":
        assert np.array_equal(one, other)


@pytest.mark.parametrize("model", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_model_passes_its_self_test_or_is_refused(model, device, provider):
    try:
        classifier = Classifier.load(model, device=device)
    except DeviceError as error:
        if "int8" not in model.name:
            raise
        pytest.skip(f"refused: {error}")
    result = self_test(classifier)
    assert (result.provider, result.problem) == (provider, None)


@pytest.mark.parametrize("options", [{"familiarity": "auto"}, {"familiarity": "off", "input": "photo"}])
def test_a_file_of_another_kind_passes_its_self_test_or_is_refused(
    conv_run, digits, tmp_path, options, device, provider
):
    export_run(conv_run[0], digits, tmp_path / "m.onnx", **options)
    try:
        classifier = Classifier.load(tmp_path / "m.onnx", device=device)
    except DeviceError as error:
        pytest.skip(f"refused: {error}")
    result = self_test(classifier)
    assert (result.provider, result.problem) == (provider, None)


@pytest.fixture
def for_children(child_environment, monkeypatch):
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, child_environment[name])


def test_clf_eval_agrees_with_the_export(file, command, device, provider):
    ended = command(evaluate, file, "digits", "--device", device, "--json")
    assert ended.code == 0, ended.err
    assert f"on {provider}" in ended.err
    assert json.loads(ended.out)["agreement"] in ("equal", "near ties")


@pytest.mark.usefixtures("for_children")
def test_clf_bench_measures_it(file, command, device, provider, monkeypatch):
    monkeypatch.setattr(benching, "COLD_STARTS", 1)
    ended = command(bench, file, "--device", device, "--seconds", "0.3", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["provider"] == provider
    assert all(row["images_per_second"] for row in found["throughput"])


@pytest.mark.usefixtures("for_children")
def test_clf_doctor_says_that_it_works(file, command, device, provider):
    checks = {check["name"]: check for check in json.loads(command(doctor, file, "--json").out)["checks"]}
    assert checks[provider]["status"] == "ok", checks[provider]
    assert checks["self-test"]["status"] == "ok", checks["self-test"]


def test_clf_predict_names_the_provider(file, digits, command, device, provider, tmp_path):
    np.save(tmp_path / "x.npy", digits.test.images[:3])
    ended = command(predict, tmp_path / "x.npy", "--model", file, "--device", device, "--json")
    assert ended.code == 0, ended.err
    assert [json.loads(line)["provider"] for line in ended.out.splitlines()] == [provider] * 3
    assert command(predict, "--model", file, "--device", device, "--self-test").code == 0


def test_without_a_visible_gpu_cuda_is_refused_and_auto_is_the_cpu(file, digits, child_environment, device, tmp_path):
    np.save(tmp_path / "x.npy", digits.test.images[0])
    hidden = {**child_environment, "CUDA_VISIBLE_DEVICES": ""}

    def run(wanted):
        line = [sys.executable, "-m", "clf_runtime", tmp_path / "x.npy", "--model", file, "--device", wanted]
        return subprocess.run(line, env=hidden, capture_output=True, text=True, timeout=300)

    refused, taken = run("cuda"), run("auto")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "CUDA does not work here" in refused.stderr
    assert (taken.returncode, taken.stdout.count("\n")) == (0, 1), taken.stderr
    assert "on CPUExecutionProvider" in taken.stderr
