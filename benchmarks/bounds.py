"""Walk the whole way with the oldest versions that pyproject.toml allows, or the newest ones that there are.

usage: python benchmarks/bounds.py [--end oldest|newest] [--python PROGRAM ...] [--given NAME==VERSION ...] [--work DIR]

In a virtual environment of its own: the checkout, and each requirement of its extras at its lower bound (or without
one), then clf-train on the embedded digits, clf-export, the self-test, a JPEG by clf-predict, clf-eval. `--given`
replaces a bound that no package index here has, or a package of several GB (`torch==2.13.0`). The last line is one JSON
object with the versions that ran. The exit code is 1 if anything fails.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("cpu", "images", "train")
SECONDS = 1800
HIDDEN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
IMAGE = "from PIL import Image; Image.linear_gradient('L').convert('RGB').resize((640, 480)).save({!r})"


class Failure(Exception):  # noqa: N818
    """What failed, in one line."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--end", choices=("oldest", "newest"), default="oldest")
    parser.add_argument("--python", action="append", metavar="PROGRAM", help="may be repeated (this Python)")
    parser.add_argument("--given", action="append", default=[], metavar="NAME==VERSION", help="instead of its bound")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the environments here (a temporary folder)")
    arguments = parser.parse_args()
    results = []
    for python in arguments.python or [sys.executable]:
        with tempfile.TemporaryDirectory(prefix="clf-bounds-") as scratch:
            work = (arguments.work or Path(scratch)).resolve() / f"{arguments.end}-{Path(python).name}"
            try:
                programs = make_environment(python, work, requirements(arguments.end, arguments.given))
                versions, problem = json.loads(call([programs / "pip", "list", "--format=json"])), None
                walk(programs, Path(scratch))
            except Failure as failure:
                versions, problem = [], str(failure)
        shown = {one["name"]: one["version"] for one in versions}
        results.append({"python": python, "end": arguments.end, "problem": problem, "versions": shown})
        print(f"{arguments.end} on {python}: {problem or 'passed'}", flush=True)
    passed = all(result["problem"] is None for result in results)
    print(json.dumps({"passed": passed, "results": results}))
    return 0 if passed else 1


def requirements(end: str, given: list[str]) -> list[str]:
    """The requirements of the extras: `name==bound` for the oldest, as they are written for the newest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    written = [*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra])]
    if end == "newest":
        return written
    replaced = {one.partition("==")[0]: one for one in given}
    bounds = [re.fullmatch(r"([\w-]+)>=([\w.]+).*", one) for one in written]
    return [replaced.get(found[1], f"{found[1]}=={found[2]}") for found in bounds if found]


def make_environment(python: str, folder: Path, wanted: list[str]) -> Path:
    """Make a virtual environment with these requirements and this checkout; return the folder of its programs."""
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    print(f"{folder.name}: {', '.join(wanted)}", file=sys.stderr, flush=True)
    if not (programs / "pip").exists():
        call([python, "-m", "venv", "--clear", folder])
    install = [programs / "python", "-m", "pip", "install", "--quiet", "--upgrade"]
    call([*install, *wanted, "hatchling>=1.26"])
    call([*install, "--no-deps", "--no-build-isolation", "--force-reinstall", ROOT])
    return programs


def walk(programs: Path, place: Path) -> None:
    """From the digits to predictions. Raises Failure."""
    run, model, photo = place / "run", place / "model.onnx", place / "photo.jpg"
    call([programs / "clf-train", "--model", "conv", "--epochs", "2", "--device", "cpu", "--out", run])
    call([programs / "clf-export", run, "--out", model])
    call([programs / "clf-predict", "--self-test", "--model", model])
    call([programs / "python", "-c", IMAGE.format(str(photo))])
    call([programs / "clf-predict", photo, "--model", model])
    call([programs / "clf-eval", model, "digits"])


def call(command: list[str | Path]) -> str:
    """Run a command outside of this environment. Raises Failure with its last line."""
    environment = {key: value for key, value in os.environ.items() if key not in HIDDEN}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{Path(command[0]).name}: {error}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
        raise Failure(f"{Path(command[0]).name}, exit code {done.returncode}: {lines[-1].strip()[:300]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
