"""The README's snippets run as they are written, one after another, in a folder where `make demo` has run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clf_train import read_source

ROOT = Path(__file__).parents[2]
SNIPPETS = re.findall(r"```(python|sh)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh here")
def test_every_snippet_runs_as_written(tmp_path):
    (tmp_path / "artifacts" / "demo").mkdir(parents=True)
    np.save(tmp_path / "artifacts" / "demo" / "image.npy", read_source("digits").test.images[0])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    assert [language for language, _ in SNIPPETS] == ["python", "sh", "sh", "python"]
    said = []
    for language, text in SNIPPETS:
        command = [sys.executable, "-c", text] if language == "python" else ["sh", "-ec", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
    assert "run folder: runs/mine" in said[1]
    assert "self-test passed" in said[2]
    assert re.match(r"1 (0\.\d+|1\.0) CPUExecutionProvider [0-9a-f]{64}\n1 \[1 1 ", said[3])


def test_every_link_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
