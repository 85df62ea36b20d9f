"""Run the golden cases of model files, and the runtime's tests, on Debian 13's onnxruntime for other processors.

usage: python benchmarks/other_processors.py MODEL... [--processor NAME ...] [--tests FOLDER] [--if-there] [--work DIR]

For processors without a wheel of onnxruntime, and 64-bit ARM, emulated by qemu (its user mode): the packages
python3-onnxruntime, python3-numpy and python3-pil of Debian 13 are unpacked in --work, and run this checkout with the
typer of this Python. Nothing is installed, and no root is needed. It runs on Debian and its kin, with qemu-user-static.
amd64 runs as it is. Times mean nothing here; the answers do. The last line is one JSON object. The exit code is 1 if
a processor fails, or cannot be had without --if-there.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUITE = "trixie"  # Debian 13
PACKAGES = ("python3", "python3-onnxruntime", "python3-numpy", "python3-pil")
FOR_TESTS = ("python3-pytest", "python3-hypothesis", "python3-onnx")
PURE = ("typer", "click", "shellingham", "annotated_doc", "rich", "markdown_it", "mdurl", "pygments")  # no machine code
SECONDS = 3000  # of a command; emulated tests take long
SOURCES = """Types: deb
URIs: http://deb.debian.org/debian
Suites: {suite}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


@dataclass(frozen=True)
class Processor:
    """Debian's name of the architecture, qemu's, the folder of its libraries, and the processor to emulate."""

    architecture: str
    qemu: str
    libraries: str
    model: str = ""


PROCESSORS = {
    "arm64": Processor("arm64", "aarch64", "aarch64-linux-gnu", "cortex-a76"),  # a Pi 5; a 4 lacks half precision
    "armhf": Processor("armhf", "arm", "arm-linux-gnueabihf"),  # 32-bit Raspberry Pi OS; qemu's most capable
    "cortex-a7": Processor("armhf", "arm", "arm-linux-gnueabihf", "cortex-a7"),  # a Raspberry Pi 2
    "riscv64": Processor("riscv64", "riscv64", "riscv64-linux-gnu"),
    "amd64": Processor("amd64", "", "x86_64-linux-gnu"),
}


class Absent(Exception):  # noqa: N818
    """Why a processor cannot be had here."""


@dataclass(frozen=True)
class Result:
    """The answer of a processor for a model or the tests: the largest difference of a probability, what failed."""

    processor: str
    what: str
    versions: str
    difference: float | None
    problem: str | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help=".onnx files with golden cases")
    parser.add_argument("--processor", action="append", choices=PROCESSORS, help="only this one; may be repeated (all)")
    parser.add_argument("--tests", action="append", default=[], metavar="FOLDER", help="run these tests there too")
    parser.add_argument("--if-there", action="store_true", help="one that cannot be had is told of, and no failure")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the packages here (a temporary folder)")
    arguments = parser.parse_args()
    results, absent = [], []
    with tempfile.TemporaryDirectory(prefix="clf-processors-") as scratch:
        work = (arguments.work or Path(scratch)).resolve()
        for name in arguments.processor or PROCESSORS:
            try:
                python = make_python(PROCESSORS[name], work)
            except Absent as reason:
                print(f"{name} IS NOT TRIED: {reason}", file=sys.stderr)
                absent.append(name)
                continue
            for result in run_all(name, python, arguments.models, arguments.tests):
                results.append(result)
                shown = "" if result.difference is None else f"{result.difference:.1e}  "
                print(f"{name:9}  {result.versions}  {result.what}  {shown}{result.problem or 'passed'}", flush=True)
    passed = all(r.problem is None for r in results) and (arguments.if_there or not absent)
    print(json.dumps({"passed": passed, "absent": absent, "results": [asdict(r) for r in results]}))
    return 0 if passed else 1


def run_all(name: str, python: Path, models: list[Path], tests: list[str]) -> Iterator[Result]:
    """The self-test of each model, then the tests."""
    environment = environment_of(PROCESSORS[name], python)
    ask = "import numpy, onnxruntime as o, platform; print(platform.python_version(), numpy.__version__, o.__version__)"
    done = run([python, "-c", ask], environment)
    versions = " ".join(done.stdout.split())
    for model in models:
        done = run([python, "-m", "clf_runtime", "--self-test", "--json", "--model", model.resolve()], environment)
        try:
            record = json.loads(done.stdout)
            difference, problem = record["max_difference"], record["problem"]
        except (ValueError, KeyError):
            difference, problem = None, f"exit code {done.returncode}: {last_line(done.stderr)}"
        if problem is None and done.stderr:
            problem = f"says on stderr: {last_line(done.stderr)}"
        yield Result(name, model.name, versions, difference, problem)
    for folder in tests:
        # Debian's protobuf is older than its Python, which says so.
        options = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=short", "-W", "ignore::DeprecationWarning"]
        done = run([python, "-m", "pytest", *options, ROOT / folder], environment)
        problem = None if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-1000:]
        yield Result(name, f"{folder}: {last_line(done.stdout)}", versions, None, problem)


def make_python(processor: Processor, work: Path) -> Path:
    """Unpack the packages, unless they are there, and write the script that runs their Python. Raises Absent."""
    qemu = shutil.which(f"qemu-{processor.qemu}-static") if processor.qemu else ""
    if qemu is None:
        raise Absent(f"no qemu-{processor.qemu}-static: apt-get install qemu-user-static")
    folder = work / processor.architecture
    python, root = folder / "python", folder / "root"
    if not python.exists():
        print(f"unpacking Debian's packages for {processor.architecture}", file=sys.stderr, flush=True)
        for package in download(processor.architecture, folder):
            run_or_absent(["dpkg", "-x", package, root])
        libraries = root / "usr/lib" / processor.libraries
        for part in ("blas", "lapack"):  # which an install would link
            shutil.copytree(libraries / part, libraries, symlinks=True, dirs_exist_ok=True)
        for link in ("lib", "lib64"):  # where the loader is looked for
            if (root / "usr" / link).is_dir() and not (root / link).exists():
                (root / link).symlink_to(f"usr/{link}")
        site = folder / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(f"import sys\nsys.executable = {str(python)!r}\n", "utf-8")
        copy_pure(site)
        program = root / "usr/bin/python3"
        loader = libraries / "ld-linux-x86-64.so.2"
        start = f'"{qemu}" -L "{root}"' if qemu else f'"{loader}" --library-path "{libraries}"'
        python.write_text(f'#!/bin/sh\nexec {start} "{program}" "$@"\n', "utf-8")
        python.chmod(0o755)
    return python


def download(architecture: str, folder: Path) -> list[Path]:
    """Debian 13's packages and all that they need, as files. Raises Absent."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Absent("no apt-get and dpkg: this is not Debian")
    for part in ("lists/partial", "cache/archives/partial", "sources", "root"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "sources/debian.sources").write_text(SOURCES.format(suite=SUITE), "utf-8")
    settings = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": folder / "sources",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": 0,
        "Debug::NoLocking": 1,
    }
    apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in settings.items())]
    run_or_absent([*apt, "update"])
    run_or_absent([*apt, "-y", "--download-only", "install", *PACKAGES, *FOR_TESTS])
    return sorted((folder / "cache/archives").glob("*.deb"))


def copy_pure(site: Path) -> None:
    """Copy typer and what it needs from this Python: they are of Python alone."""
    import importlib.util

    for name in PURE:
        found = importlib.util.find_spec(name)
        if found and found.origin:
            source = Path(found.origin).parent
            shutil.copytree(source, site / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def environment_of(processor: Processor, python: Path) -> dict[str, str]:
    """The variables: this checkout and typer on the path, and which processor qemu emulates."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    path = os.pathsep.join(
        str(p) for p in (python.parent / "site", *(ROOT / p for p in ("runtime", "train", "export")))
    )
    given = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    if not processor.qemu:
        given["PYTHONHOME"] = str(python.parent / "root/usr")
    return kept | given | ({"QEMU_CPU": processor.model} if processor.model else {})


def run(command: list[str | Path], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"takes longer than {SECONDS} s")


def run_or_absent(command: list[str | Path]) -> None:
    done = run(command)
    if done.returncode:
        raise Absent(f"{command[0]}: {last_line(done.stderr)}")


def last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no output"])[-1][:300]


if __name__ == "__main__":
    sys.exit(main())
