import os
import subprocess
import sys

from clf_train.loop import process


def test_waiting_threads_spin_a_little(monkeypatch):
    for variable in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(variable, "x")
        monkeypatch.delenv(variable)
    process.configure_process()
    assert {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys() == {"GOMP_SPINCOUNT"}


def test_what_the_user_chose_wins(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    process.configure_process()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ


def test_help_loads_no_torch():
    code = (
        "import sys\nfrom clf_train.commands.train import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy'} & sys.modules.keys()"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
