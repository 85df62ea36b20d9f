"""The engine on Ray Data, in processes of its own; skipped where Ray is not installed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clf_runtime import MissingExtraError, score

IMAGES = 120


def test_without_ray_the_install_line(photos, tiny_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'--engine ray needs Ray: pip install "clf-edge\[ray\]"'):
        score(photos, tmp_path / "out", tiny_file, engine="ray")


def children(pid):
    """The processes below a process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(status.parent.name)
            found += [child, *children(child)]
    return found


def actors(pid):
    """The actors of the cluster that a process has started."""
    found = []
    for child in children(pid):
        try:
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::MapWorker"):
                found.append(child)
        except OSError:
            continue
    return found


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_actor_and_then_the_driver_killed_no_image_is_lost_and_none_is_there_twice(tiny_file, tmp_path, rows):
    pytest.importorskip("ray.data", reason='Ray is not installed: pip install "clf-edge[ray]"')
    arrays, out = tmp_path / "arrays", tmp_path / "out"
    arrays.mkdir()
    for i in range(IMAGES):
        np.save(arrays / f"{i:03}.npy", np.full((20, 3, 8, 8), i, np.uint8))
    code = "import sys; sys.argv[0] = 'clf-score'\nfrom clf_runtime.commands.score import main\nmain()"
    words = [str(arrays), "--out", str(out), "--model", tiny_file, "--partition", "1", "--engine", "ray"]

    def start():
        environment = {**os.environ, "RAY_ADDRESS": "local"}
        command = [sys.executable, "-c", code, *words, "--workers", "1"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    process = start()
    until(lambda: any(out.glob("part-*")) or process.poll() is not None)
    (actor,) = actors(process.pid)
    os.kill(actor, signal.SIGKILL)
    before = len(list(out.glob("part-*")))
    until(lambda: len(list(out.glob("part-*"))) >= min(before + 5, IMAGES) or process.poll() is not None)
    process.kill()
    process.communicate()
    assert len(list(out.glob("part-*"))) >= min(before + 5, IMAGES)
    process = start()
    printed, said = process.communicate()
    assert process.returncode == 0, said
    assert re.match(rf"{re.escape(str(out))}: {IMAGES} of {IMAGES} partitions; ", printed)
    found = [(os.path.basename(row["image"]), row["index"]) for row in rows(out)]
    assert found == [(f"{i:03}.npy", k) for i in range(IMAGES) for k in range(20)]
