import os
import subprocess
import sys

import pytest

from clf_train import process


@pytest.fixture
def stat(tmp_path, monkeypatch):
    """A /proc/stat that says how many of each hundred ticks are idle."""
    file = tmp_path / "stat"

    def say(idle):
        total = {"busy": 0, "idle": 0}

        def tick(seconds=0):
            total["busy"] += 100 - idle
            total["idle"] += idle
            file.write_text(f"cpu  {total['busy']} 0 0 {total['idle']} 0 0 0 0 0 0\ncpu0 1 2 3\n")

        tick()
        monkeypatch.setattr(process, "_STAT", file)
        monkeypatch.setattr(process.time, "sleep", tick)

    return say


@pytest.mark.parametrize(("idle", "expected"), [(100, True), (80, True), (50, False), (0, False)])
def test_a_machine_is_idle_if_nothing_runs(stat, idle, expected):
    stat(idle)
    assert process.machine_is_idle() == expected


@pytest.mark.parametrize("text", ["", "cpu a b c d e\n", "cpu 1 2\n", None])
def test_where_the_system_does_not_tell_it_is_not_idle(tmp_path, monkeypatch, text):
    monkeypatch.setattr(process, "_STAT", tmp_path / "stat")
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert not process.machine_is_idle()


@pytest.mark.parametrize(("idle", "name"), [(100, "GOMP_SPINCOUNT"), (0, "OMP_WAIT_POLICY")])
def test_waiting_threads_spin_a_little_or_sleep(stat, monkeypatch, idle, name):
    for variable in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(variable, "x")
        monkeypatch.delenv(variable)
    stat(idle)
    process.settle()
    assert {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys() == {name}


def test_what_the_user_chose_wins(stat, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    stat(0)
    process.settle()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ


def test_help_loads_no_torch():
    code = (
        "import sys\nfrom clf_train.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy'} & sys.modules.keys()"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
