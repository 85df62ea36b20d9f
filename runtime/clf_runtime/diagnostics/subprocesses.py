"""Python in a fresh process: for cold starts, and for whatever may crash the process."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_TEXT = 100_000


@dataclass(frozen=True)
class Ended:
    """How a child process ended: its exit code (negative: the signal that killed it; None: timeout) and its output."""

    code: int | None
    out: str
    err: str


def run_python(arguments: Sequence[str], seconds: float) -> Ended:
    """Run this Python with `arguments` for at most `seconds`, telemetry off, importing nothing from the current folder.

    Raises OSError if no process can be started.
    """
    environment = {"ORT_DISABLE_TELEMETRY": "1", **os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"}
    command = [sys.executable, "-P", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return Ended(None, "", "")
    out, err = (stream[-_MOST_TEXT:].decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return Ended(done.returncode, out, err)


def signal_name(code: int) -> str:
    """The name of the signal of a negative exit code, such as SIGILL."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
