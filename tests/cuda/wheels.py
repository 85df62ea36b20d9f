"""The packages that `make test-cuda` needs, for a machine without a network and without pip.

    python tests/cuda/wheels.py gather FOLDER [3.12]    where there is a network: download them, for that Python
    python tests/cuda/wheels.py unpack FOLDER TO        on the machine with the GPU: unpack what it lacks into TO

PyTorch for CUDA, several gigabytes, is expected there. A wheel is an archive of what lies in site-packages, so that TO
in PYTHONPATH is enough.
"""

import importlib.metadata
import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS, TESTS = ("gpu", "images", "train"), {"pytest", "hypothesis"}
THERE = {"torch"}
ALWAYS = {"onnxruntime-gpu", "typer"}  # another wheel has the module too; a newer one is not taken
GLIBC = range(17, 40)  # pip wants each tag by name


def name_of(text: str) -> str:
    """The normalised name of a package, of a requirement or of a wheel's file."""
    return re.sub("[-_.]+", "-", re.split(r"[-<>=!~ \[;]", text.replace("-", "_"))[0]).lower().strip("-")


def gather(folder: Path, version: str) -> None:
    """Download the wheels; needs pip."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    tests = [line for line in wanted if name_of(line) in TESTS or line in project["project"]["dependencies"]]
    extras = [line for extra in EXTRAS for line in project["project"]["optional-dependencies"][extra]]
    needed = [line for line in (*tests, *extras) if name_of(line) not in THERE]
    tags = [f"--platform=manylinux_2_{n}_{platform.machine()}" for n in GLIBC]
    tags.append(f"--platform=manylinux2014_{platform.machine()}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", f"--python-version={version}"]
    command += ["--implementation=cp", *tags, f"--constraint={ROOT / 'constraints.txt'}", f"--dest={folder}", *needed]
    subprocess.run(command, check=True)
    wheels = sorted(folder.glob("*.whl"), key=lambda wheel: -wheel.stat().st_size)
    for wheel in wheels:
        print(f"{wheel.stat().st_size / 1e6:8.1f} MB  {wheel.name}")
    print(f"{sum(wheel.stat().st_size for wheel in wheels) / 1e6:8.1f} MB  in all, {len(wheels)} wheels in {folder}")


def unpack(folder: Path, to: Path) -> None:
    """Unpack the wheels of packages that this Python lacks, or that must be these."""
    installed = {name_of(str(found.metadata["Name"])) for found in importlib.metadata.distributions()}
    for wheel in sorted(folder.glob("*.whl")):
        name = name_of(wheel.name.partition("-")[0])
        if name in installed - ALWAYS:
            print(f"there already: {name}")
            continue
        print(f"unpacked: {wheel.name}")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(to)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gather", folder, *rest]:
            gather(Path(folder), rest[0] if rest else f"{sys.version_info[0]}.{sys.version_info[1]}")
        case ["unpack", folder, to]:
            unpack(Path(folder), Path(to))
        case _:
            sys.exit((__doc__ or "").strip())
