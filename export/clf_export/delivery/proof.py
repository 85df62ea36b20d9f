"""The proof of a delivery: the golden cases, by onnxruntime and by the tool itself."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clf_export.delivery.environment import find_tool
from clf_export.delivery.original import Original
from clf_export.delivery.tool import Tool, Written
from clf_export.errors import DeliveryError
from clf_runtime.engine.engine import open_engine

SECONDS = 600  # of a converter or a trial
TRIALS = Path(__file__).with_name("trials")
# Tools that install packages, send statistics or look for updates on their own account.
QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PIP_NO_INDEX": "1",
}


def prove_by_onnxruntime(original: Original, written: Written) -> str:
    """Run the golden cases through a delivery's graph. Returns a line.

    Raises DeliveryError if a probability differs by more than the file's tolerance.
    """
    images = written.feed(original.images)
    engine = open_engine(written.model, "the delivery", device="cpu")
    batches = images[:, None] if written.alone else images[None]
    answers = written.read(np.concatenate([engine.run(np.ascontiguousarray(batch)) for batch in batches]))
    return compare(original, answers, "onnxruntime", original.tolerance)


def prove_by_tool(original: Original, tool: Tool, place: Path) -> str:
    """Run the golden cases through the tool itself, if it is installed, in a process of its own; returns a line.

    Raises DeliveryError if it fails, or a probability differs by more than the tolerance of the file or the tool.
    """
    python = find_tool(tool)
    if python is None:
        return f"{tool.package} is not installed, so it was not tried"
    answers, version = try_tool(python, tool, place, original.images)
    allowed = max(original.tolerance, tool.tolerance or 0)
    return compare(original, answers, f"{tool.package} {version}", allowed)


def try_tool(python: Path, tool: Tool, place: Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    """What a tool answers for images as the exported file takes them, float32 [cases, classes], and its version.

    Raises DeliveryError with the tool's last line if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="clf-edge-trial-") as scratch:
        taken, given = Path(scratch) / "images.npy", Path(scratch) / "answers.npy"
        np.save(taken, images)
        said = run_program([python, TRIALS / tool.trial, place, taken, given], tool.about, Path(scratch))
        return np.load(given), said.strip().split("\n")[-1]


def run_program(command: Sequence[str | Path], what: str, folder: Path) -> str:
    """Run a program in a folder, without a shell and for a bounded time, and return its output.

    Raises DeliveryError with its last line on stderr if it fails.
    """
    environment = {**os.environ, **QUIET, "HOME": str(folder), "PYTHONIOENCODING": "utf-8"}
    for name in ("PYTHONPATH", "PYTHONHOME"):
        environment.pop(name, None)
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            env=environment,
            cwd=folder,
            check=False,
        )
    except OSError as error:
        raise DeliveryError(f"{what} cannot be started: {command[0]}: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise DeliveryError(f"{what} takes longer than {SECONDS} s") from None
    out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    if done.returncode:
        words = [line.strip() for line in (err or out).splitlines() if line.strip()] or ["no output"]
        raise DeliveryError(f"{what} fails with exit code {done.returncode}: {words[-1][:300]}")
    return out


def compare(original: Original, answers: np.ndarray, what: str, tolerance: float) -> str:
    """A line on how much answers differ from the card's. Raises DeliveryError if it is more than the tolerance."""
    expected = original.expected
    if answers.shape != expected.shape or not np.isfinite(answers).all():
        raise DeliveryError(f"{original.path}: {what} gives {list(answers.shape)}, or outputs that are not finite")
    difference = float(np.abs(answers - expected).max())
    if difference > tolerance:
        raise DeliveryError(
            f"{original.path}: {what} differs by {difference:.1e} on a golden case, more than {tolerance:g}, so "
            "nothing is written"
        )
    return f"{len(expected)}, largest difference of a probability {difference:.1e}: {what}"
