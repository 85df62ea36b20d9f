"""Engines that run .onnx files, and the virtual environment that each of them has."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = f"{ROOT}[cpu]"
SECONDS = 900  # timeout of an installation or a run
HIDDEN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # variables that would leak one environment into another


class Refusal(Exception):  # noqa: N818
    """Why an engine does not run, or a file cannot be tested, in one line."""


class Absent(Refusal):
    """Why an engine is not available on this machine: there is no Python for it, or no wheel."""


@dataclass(frozen=True)
class Engine:
    """The requirements to install, first the package whose version is reported, and Python versions (empty: any).

    With `ours`, clf-edge is installed too, and `clf-predict` runs the model.
    """

    requirements: tuple[str, ...]
    required: bool = False
    ours: bool = False
    pythons: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        return self.requirements[0].split("=")[0].split("<")[0]


ENGINES = {
    "oldest": Engine(("onnxruntime==1.17.0", "numpy==1.26.0", "typer==0.22.0"), True, True, ("3.12", "3.11")),
    "newest": Engine(("onnxruntime", "numpy"), True, True),
    "reference": Engine(("onnx", "numpy"), True),
    "openvino": Engine(("openvino", "numpy")),
    "opencv": Engine(("opencv-python-headless", "numpy")),
    "opencv4": Engine(("opencv-python-headless<5", "numpy")),
    "tract": Engine(("tract", "numpy")),
}


@dataclass(frozen=True)
class Environment:
    """A virtual environment: the folder of its programs, and its versions."""

    programs: Path
    version: str
    numpy: str
    python: str


def make_environment(name: str, work: Path, python: str) -> Environment:
    """Create or update the environment of an engine in a subfolder of `work`.

    If the engine has no wheel for `python`, a Python on the PATH that has one is used, with a note on stderr. Raises
    Absent if the engine is not available, Refusal if clf-edge cannot be installed with it.
    """
    engine, folder = ENGINES[name], work / name
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    print(f"making the environment of {name}: {', '.join(engine.requirements)}", file=sys.stderr, flush=True)
    if not (programs / "clf-ready").exists():
        call([find_python(name, python), "-m", "venv", "--clear", folder])
    install = [programs / "python", "-m", "pip", "install", "--quiet", "--upgrade", *engine.requirements]
    try:
        call(install)
    except Refusal as refusal:
        raise Absent(str(refusal)) from None
    if engine.ours:
        call([*install, OURS])
    (programs / "clf-ready").touch()
    ask = (
        "import importlib.metadata as m, platform;"
        f"print(m.version({engine.package!r}), m.version('numpy'), platform.python_version())"
    )
    return Environment(programs, *call([programs / "python", "-c", ask]).split())


def find_python(name: str, python: str) -> str:
    """`python`, or the first one on the PATH whose version the engine has wheels for. Raises Absent without one."""
    wanted = ENGINES[name].pythons
    for candidate in (python, *(f"python{version}" for version in wanted)):
        try:
            version = call([candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
        except Refusal:  # absent, or a shim without a Python behind it
            continue
        if not wanted or version in wanted:
            if candidate != python:
                print(f"{name} has no wheel for {python}: using {shutil.which(candidate)}", file=sys.stderr)
            return candidate
    raise Absent(f"needs Python {' or '.join(wanted)}; neither {python} nor the PATH has it")


def call(command: Sequence[str | Path], fine: tuple[int, ...] = (0,), seconds: int = SECONDS) -> str:
    """Run a command outside of this environment and return its output. Raises Refusal with its last line."""
    environment = {key: value for key, value in os.environ.items() if key not in HIDDEN}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    except OSError as error:
        raise Refusal(f"{command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Refusal(f"{Path(command[0]).name} takes longer than {seconds} s") from None
    if done.returncode not in fine:
        words = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
        how = f"exit code {done.returncode}" if done.returncode > 0 else f"ended by signal {-done.returncode}"
        raise Refusal(f"{how}: {words[-1].strip()[:300]}")
    return done.stdout
