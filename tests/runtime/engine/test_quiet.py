"""A prediction opens no socket, starts no thread, and writes nothing anywhere."""

import os
import subprocess
import sys

import numpy as np
import pytest

CODE = """
import os, sys, threading

threads = len(os.listdir("/proc/self/task"))  # an emulator has one of its own
seen = []
def hook(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event.startswith("socket."):
        seen.append((event, str(arguments[0])))
sys.addaudithook(hook)

from clf_runtime import Classifier
classifier = Classifier.load(sys.argv[1])
for _ in range(3):
    classifier.predict(sys.argv[2])
sockets = [l for f in os.listdir("/proc/self/fd") for l in [os.path.realpath("/proc/self/fd/" + f)] if "socket" in l]
print(seen, sockets, len(os.listdir("/proc/self/task")) - threads)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks at the process in /proc")
def test_no_socket_no_thread_no_file(tiny_file, tmp_path):
    image = tmp_path / "image.npy"
    np.save(image, np.zeros((3, 8, 8), np.uint8))
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # numpy's, which start when it is imported
    before = sorted(os.listdir(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-c", CODE, tiny_file, str(image)], env=environment, cwd=home, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "[] [] 0\n"
    assert os.listdir(home) == []
    assert sorted(os.listdir(tmp_path)) == before
