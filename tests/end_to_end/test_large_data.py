"""The benchmark of large data: what it measures, what it prints, and that it leaves nothing behind."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "large_data.py"

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc, as Linux has it")


@pytest.fixture(scope="module")
def large_data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("large_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen([sys.executable, SCRIPT, *arguments], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_small_source_passes_and_the_last_line_is_json(tmp_path: Path) -> None:
    child = start(tmp_path, "0.005", "--layout", "npz")
    output, _ = child.communicate()
    result = json.loads(output.splitlines()[-1])
    assert child.returncode == 0
    assert result["passed"] is True
    assert (result["images"], result["source_bytes"]) == (406, 406 * 12288)
    assert 50e6 < result["peak_anonymous_bytes"] <= result["limit_bytes"] == 1536 << 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_benchmark_cleans_up_after_itself(tmp_path: Path, number: signal.Signals) -> None:
    child = start(tmp_path, "0.005", "--layout", "npz")
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*/output.txt")) and time.monotonic() < until:
        time.sleep(0.02)
    child.send_signal(number)
    child.communicate(timeout=60)
    assert child.returncode not in (0, -number)
    assert list(tmp_path.iterdir()) == []


SIZE = 200 << 20
ANONYMOUS = f"import time; held = bytearray(b'x') * {SIZE}; time.sleep(0.3)"
MAPPED = (
    f"import mmap, time; file = open('large', 'wb+'); file.truncate({SIZE}); held = mmap.mmap(file.fileno(), {SIZE})\n"
    "for i in range(0, len(held), 4096): held[i] = 1\n"
    "time.sleep(0.3)"
)


@pytest.mark.parametrize(("script", "column"), [(ANONYMOUS, 1), (MAPPED, 2)], ids=["anonymous", "mapped"])
def test_anonymous_and_mapped_memory_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large_data: ModuleType, script: str, column: int
) -> None:
    monkeypatch.chdir(tmp_path)
    result = large_data.watch([sys.executable, "-c", script], tmp_path)
    assert result[0] == 0
    assert SIZE <= result[column] < SIZE + (50 << 20)
    assert 0 < result[3 - column] < 50 << 20


def test_a_command_that_fails_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large_data: ModuleType
) -> None:
    for limit, code in ((1 << 40, 2), (10, 0)):
        monkeypatch.setattr(large_data, "LIMIT_BYTES", limit)
        monkeypatch.setattr(large_data, "watch", lambda *_, code=code: (code, 1000, 1000, ""))
        folder = tmp_path / str(code)
        folder.mkdir()
        assert large_data.measure(folder, 200, "tensors", "simple")["passed"] is False
