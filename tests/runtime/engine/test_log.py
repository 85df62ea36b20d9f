"""onnxruntime's own log: silent, and shown from a level on when that is asked for."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from clf_runtime import Classifier, DeviceError
from clf_runtime.commands import bench as bench_cli
from clf_runtime.commands import eval as eval_cli
from clf_runtime.commands.predict import main
from clf_runtime.diagnostics import bench
from clf_runtime.engine import ort_library

CODE = """
import sys
from clf_runtime import Classifier
Classifier.load(sys.argv[1], log=sys.argv[2] or None).predict(sys.argv[3])
"""


@pytest.fixture
def image(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((3, 8, 8), np.uint8))
    return tmp_path / "image.npy"


@pytest.mark.parametrize(("level", "shown"), [("", False), ("error", False), ("info", True), ("VERBOSE", True)])
def test_it_is_shown_from_a_level_on(tiny_file, image, level, shown):
    ended = subprocess.run(
        [sys.executable, "-c", CODE, tiny_file, level, image], capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""
    assert ("onnxruntime" in ended.stderr) == shown


@pytest.mark.parametrize("main", [main, eval_cli.main, bench_cli.main])
def test_every_command_hands_it_on(command, monkeypatch, tmp_path, tiny_file, image, main):
    np.savez(tmp_path / "data.npz", images=np.zeros((2, 3, 8, 8), np.uint8), labels=[0, 1])
    monkeypatch.setattr(bench, "COLD_STARTS", 1)
    arguments = {
        "clf_runtime.commands.predict": (image, "--model", tiny_file),
        "clf_runtime.commands.eval": (tiny_file, tmp_path / "data.npz"),
        "clf_runtime.commands.bench": (tiny_file, "--seconds", "0.1"),
    }[main.__module__]
    levels = []
    monkeypatch.setattr(ort_library, "severity", lambda log: levels.append(log) or 4)
    assert command(main, *arguments, "--ort-log", "warning").code == 0
    assert "warning" in levels


def test_an_unknown_level_is_refused(command, tiny_file, image):
    with pytest.raises(DeviceError, match="unknown log level 'loud'; choose verbose, info, warning"):
        Classifier.load(tiny_file, log="loud")
    ended = command(main, image, "--model", tiny_file, "--ort-log", "loud")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)


def test_who_asks_for_less_does_not_silence_another(tiny_file, monkeypatch):
    levels = []
    monkeypatch.setattr(ort_library, "_shown_from", None)
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", levels.append)
    for log in (None, "warning", None, "info", "error", None):
        Classifier.load(tiny_file, log=log)
        ort_library.import_onnxruntime()
    assert levels == [4, 2, 1]
