import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from clf_runtime import Classifier, ModelCard
from clf_runtime.commands.bench import main
from clf_runtime.diagnostics import bench, workload
from clf_runtime.diagnostics.subprocesses import Ended


@pytest.fixture
def measured(command, tiny_file, monkeypatch):
    """The real thing on a tiny model, with one cold start, and for a moment only."""
    monkeypatch.setattr(bench, "COLD_STARTS", 1)
    return lambda *options: command(main, tiny_file, "--seconds", "0.2", *options)


def test_a_table_and_last_a_line_of_json(measured):
    ended = measured()
    assert ended.code == 0
    assert ended.err.startswith("clf-bench: measuring tiny.onnx for about 0.2 s")
    lines = ended.out.splitlines()
    record = json.loads(lines[-1])
    for word in ("cold start", "  load", "  first run", "peak memory", "predict", "bare session"):
        assert any(line.startswith(word) for line in lines), word
    cold = record["cold_start"]
    assert 0 < cold["load_seconds"] + cold["first_run_seconds"] + cold["import_seconds"] < cold["seconds"] < 60
    for latency in (record["predict"], record["session"]):
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] < 1
        assert latency["runs"] >= 20
        assert 0 < latency["processor_seconds"] < 1
    assert [row["batch"] for row in record["throughput"]] == [1, 8, 32, 256]
    assert all(row["images_per_second"] > 0 and row["runs"] >= 1 for row in record["throughput"])
    assert 10 << 20 < cold["peak_memory_bytes"] < record["peak_memory_bytes"] < 64 << 30
    assert record["provider"] == "CPUExecutionProvider"


def test_json_alone_is_one_line(measured):
    ended = measured("--json", "--quiet")
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    assert json.loads(ended.out)["throughput"]


def test_what_would_take_too_long_or_too_much_is_left_out_and_said(tiny_model):
    classifier = Classifier(tiny_model(), "tiny")
    row = bench.throughput(classifier, 256, seconds_per_image=1.0, seconds=0.1)
    assert (row.images_per_second, row.runs) == (None, 0)
    assert "too long" in row.reason
    large = Classifier(tiny_model(size=(1024, 1024)), "tiny")
    assert "more than 256 MiB" in bench.throughput(large, 256, 1e-6, 0.1).reason


def test_two_calls_are_timed_in_turns_and_a_slow_one_ends_the_turn(monkeypatch):
    now, calls = [0.0], []
    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0])
    monkeypatch.setattr(bench, "time", clock)  # only the calls take time

    def taking(seconds, name):
        def call():
            calls.append(name)
            now[0] += seconds

        return call

    fast, even = bench.latencies(taking(1 / 128, "a"), taking(1 / 64, "b"), 1.0)
    assert calls == ["a", "b"] * 5 + (["a"] * 20 + ["b"] * 20) * 3
    assert (fast.runs, fast.p50, fast.processor_seconds) == (60, 1 / 128, 1 / 128)
    assert (even.runs, even.p50, even.processor_seconds) == (60, 1 / 64, 1 / 64)
    calls.clear()
    fast, slow = bench.latencies(taking(1 / 128, "a"), taking(0.75, "b"), 1.0)
    assert calls == ["a", "b"] * 5 + (["a"] * 20 + ["b"]) * 2
    assert (fast.runs, slow.runs) == (40, 2)


@pytest.mark.parametrize(
    ("dtype", "layout", "shape"),
    [("uint8", "NCHW", (4, 3, 8, 6)), ("float32", "NHWC", (4, 8, 6, 3))],
)
def test_made_images_are_what_the_model_takes(dtype, layout, shape):
    card = ModelCard(
        "m", ("a", "b"), (3, 8, 6), dtype, (0.0, 255.0) if dtype == "uint8" else (-1.0, 1.0), layout=layout
    )
    images = workload.made_images(card, 4)
    assert (images.shape, images.dtype) == (shape, dtype)
    assert card.value_range[0] <= images.min() < images.max() <= card.value_range[1]
    assert np.ptp(images) > 0.9 * (card.value_range[1] - card.value_range[0])
    np.testing.assert_array_equal(images, workload.made_images(card, 4))


@pytest.mark.parametrize(
    ("ended", "says"),
    [
        (Ended(-4, "", ""), "killed by SIGILL"),
        (Ended(None, "", ""), "timed out"),
        (Ended(1, "", "Traceback\nModuleNotFoundError: No module named 'clf_runtime'\n"), "No module named"),
    ],
)
def test_a_fresh_process_that_fails_is_one_line(command, tiny_file, monkeypatch, ended, says):
    monkeypatch.setattr(bench, "run_python", lambda arguments, seconds: ended)
    done = command(main, tiny_file, "-q")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert says in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument"),
        (["/nowhere/m.onnx"], "cannot be read: No such file"),
        (["TINY", "more"], "unexpected extra argument"),
        (["TINY", "--seconds", "0"], "--seconds must be 0.1 to 3600"),
        (["TINY", "--seconds", "nan"], "--seconds must be 0.1 to 3600"),
        (["TINY", "--seconds", "inf"], "--seconds must be 0.1 to 3600"),
        (["TINY", "--seconds", "long"], "not a valid float"),
        (["TINY", "--device", "cuda"], "CUDA does not work here"),
        (["TINY", "--device", "tpu"], "unknown device 'tpu'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(command, tiny_file, arguments, says):
    ended = command(main, *[tiny_file if a == "TINY" else a for a in arguments], "-q")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert says in ended.err


def test_threads_share_the_batches(measured, monkeypatch):
    monkeypatch.setattr("clf_runtime.classifier.usable_processors", lambda: 2)
    ended = measured("--threads", "0")
    assert json.loads(ended.out.splitlines()[-1])["threads"] == 2
    assert "2 threads per batch" in ended.out


def test_a_model_that_fails_is_told_before_the_measuring_begins(command, tiny_model, tmp_path):
    model = onnx.load_from_string(tiny_model())
    [gain] = [i for i in model.graph.initializer if i.name == "gain"]
    gain.CopyFrom(onnx.numpy_helper.from_array(np.float32(np.nan), "gain"))
    onnx.save(model, tmp_path / "bad.onnx")
    ended = command(main, tmp_path / "bad.onnx")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "bad.onnx: the model's output is not a probability distribution" in ended.err
