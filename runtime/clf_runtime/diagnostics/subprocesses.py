"""Python in a fresh process: for what must be measured cold, and for what may take the process down."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_TEXT = 100_000


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal that killed it; None: out of time) and what it printed."""

    code: int | None
    out: str
    err: str


def run_python(arguments: Sequence[str], seconds: float) -> Ended:
    """Run this Python with `arguments`, for `seconds` at the most, telemetry off; nothing in the folder is imported.

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
    """The name of the signal of a negative exit code, as SIGILL."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
