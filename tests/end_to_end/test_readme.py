"""The README's snippets run as they are written, one after another, in a folder where `make demo` has run."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from clf_export.commands.export import main as export
from clf_runtime.commands.typer_app import make_app_of
from clf_train import read_source
from clf_train.commands.train import main as train

ROOT = Path(__file__).parents[2]
SNIPPETS = re.findall(r"```(python|sh)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
HERE = {"clf-train": train, "clf-export": export}  # what takes seconds to load, and is loaded in this process


@pytest.mark.usefixtures("no_drawing", "quick_exports")
@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh here")
def test_every_snippet_runs_as_written(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("artifacts", "demo").mkdir(parents=True)
    np.save("artifacts/demo/image.npy", read_source("digits").test.images[0])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}

    def run_line(line):
        name, *arguments = shlex.split(line, comments=True)
        if name in HERE:
            ended = command(HERE[name], *arguments)
            assert ended.code == 0, f"{line}\n{ended.out}\n{ended.err}"
            return ended.out
        done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    assert [language for language, _ in SNIPPETS] == ["python", "sh", "sh", "python"]
    (_, pictures), (_, workstation), (_, device), (_, library) = SNIPPETS
    exec(pictures, {})
    assert "run folder: runs/mine" in "".join(map(run_line, workstation.splitlines()))
    assert "self-test passed" in "".join(map(run_line, device.splitlines()))
    done = subprocess.run([sys.executable, "-c", library], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.match(r"1 (0\.\d+|1\.0) CPUExecutionProvider [0-9a-f]{64}\n1 \[1 1 ", done.stdout)


def test_every_link_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


PROGRAMS = ("bench", "doctor", "eval", "export", "predict", "score", "train")


def options_of(program):
    package = {"train": "clf_train", "export": "clf_export"}.get(program, "clf_runtime")
    module = importlib.import_module(f"{package}.commands.{program}")
    app = make_app_of(module.predict, module.OPTIONS, "", "") if program == "predict" else module.app
    return {name for parameter in typer.main.get_command(app).params for name in parameter.opts} | {"--help"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_in_the_documents_exists(program):
    found, known = 0, options_of(program)
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = document.read_text("utf-8").replace("\\\n", " ")
        for call in re.findall(rf"\bclf-{program}( [^\n`|;#&)]*)", text):
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", call))
            assert named <= known, (document.name, call)
            found += len(named)
    assert found or program == "doctor"
