import io
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from clf_runtime import ModelCard
from clf_runtime.commands.predict import main
from clf_runtime.monitoring.reference import fit_reference


@pytest.fixture
def model(tiny_model, tmp_path):
    """The tiny model, whose reference has as many red as green and blue images, all of them sure."""
    probabilities = np.full((300, 3), 0.05, np.float32)
    probabilities[np.arange(300), np.arange(300) % 3] = np.linspace(0.8, 0.99, 300)
    reference = fit_reference(probabilities)
    card = ModelCard("tiny", ("red", "green", "blue"), (3, 8, 8), "uint8", (0.0, 255.0), reference=reference)
    (tmp_path / "tiny.onnx").write_bytes(tiny_model(card=card))
    return tmp_path / "tiny.onnx"


def images(random, count, mix):
    found = np.zeros((count, 3, 8, 8), np.uint8)
    found[np.arange(count), random.choice(3, count, p=mix)] = random.integers(70, 125, (count, 1, 1), np.uint8)
    return found


def records(*arrays):
    stream = io.BytesIO()
    for array in arrays:
        np.save(stream, array)
    return stream.getvalue()


def given(monkeypatch, *arrays):
    monkeypatch.setattr("clf_runtime.commands.answers.standard_input", lambda: io.BytesIO(records(*arrays)))


def test_a_stream_says_when_it_has_changed_and_summarises_at_its_end(command, monkeypatch, model):
    random = np.random.default_rng(0)
    given(monkeypatch, images(random, 12_000, [0.34, 0.33, 0.33]), images(random, 4000, [0.9, 0.05, 0.05]))
    ended = command(main, "-", "--model", model, "--csv")
    first, *lines = ended.err.splitlines()
    assert ended.code == 0
    assert first == "clf-predict: tiny.onnx on CPUExecutionProvider"
    assert len(ended.out.splitlines()) == 16_001
    told = [line for line in lines if "have changed" in line]
    assert len(told) <= 2
    assert any("the mix of classes (" in line for line in told)
    assert lines[-1].startswith("clf-predict: 16,000 images: 0.0 % unknown, mean probability 0.")
    assert "classes red 4" in lines[-1]
    assert "mix of classes changed, noticed at image 1" in lines[-1]


def test_summaries_come_every_n_images_of_a_file_too(command, model, tmp_path):
    np.save(tmp_path / "x.npy", images(np.random.default_rng(1), 25, [1, 0, 0]))
    ended = command(main, tmp_path / "x.npy", "--model", model, "--drift-every", 10, "--reject-below", 0.99)
    lines = [line for line in ended.err.splitlines() if "unknown" in line]
    assert [line.split(":")[1] for line in lines] == [" 10 images", " images 11 to 20", " 25 images"]
    assert all("100.0 % unknown" in line and "classes red 100.0 % (33.3)" in line for line in lines)
    assert all("no test of drift yet: it takes 8,192 images" in line for line in lines)


def test_files_and_quiet_streams_get_no_summary_and_short_ones_hear_why(command, monkeypatch, model, tmp_path):
    many = images(np.random.default_rng(2), 300, [1, 0, 0])
    np.save(tmp_path / "x.npy", many)
    assert "unknown" not in command(main, tmp_path / "x.npy", "--model", model).err
    given(monkeypatch, many[:255])
    _, *said = command(main, "-", "--model", model).err.splitlines()
    assert said == [
        "clf-predict: 255 images are too few for a summary, which takes 256; --drift-every N gives one of fewer"
    ]
    given(monkeypatch, many[:1])
    assert "too few" not in command(main, "-", "--model", model).err
    given(monkeypatch, many[:5])
    assert "too few" not in command(main, "-", "--model", model, "--drift-every", 4).err
    given(monkeypatch, many)
    assert command(main, "-", "--model", model, "--quiet").err == ""
    given(monkeypatch, many)
    assert "300 images: 0.0 % unknown" in command(main, "-", "--model", model).err


def test_a_model_without_a_reference_says_so(command, monkeypatch, tiny_file):
    given(monkeypatch, images(np.random.default_rng(3), 300, [1, 0, 0]))
    ended = command(main, "-", "--model", tiny_file)
    assert (
        "classes red 100.0 %, green 0.0 %, blue 0.0 %; no test of drift: the model file has no reference" in ended.err
    )


@pytest.mark.parametrize("arguments", [["--drift-every", "0"], ["--drift-every", "x"], ["--drift-every", "5", "-q"]])
def test_wrong_use_is_one_line(command, model, arguments):
    ended = command(main, "x.npy", "--model", model, *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "--drift-every" in ended.err


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="the system has no SIGUSR1")
def test_a_signal_is_answered_while_it_waits_for_the_next_image(model):
    code = "from clf_runtime.commands.predict import main; main()"
    arguments = [sys.executable, "-c", code, "-", "--model", str(model)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        process.stdin.write(records(images(np.random.default_rng(4), 3, [1, 0, 0])))
        process.stdin.flush()
        assert [process.stdout.readline()[:2] for _ in range(3)] == [b"-["] * 3
        assert b"on CPUExecutionProvider" in process.stderr.readline()
        time.sleep(0.1)  # it reads again
        process.send_signal(signal.SIGUSR1)
        assert b"clf-predict: 3 images: 0.0 % unknown" in process.stderr.readline()
        process.stdin.write(records(images(np.random.default_rng(5), 1, [1, 0, 0])))
        process.stdin.close()
        assert process.stdout.readline().startswith(b"-[1][0]: red ")
        assert process.wait() == 0
