"""Where a tool is installed: in this environment, or in one whose programs are on the PATH."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from clf_export.delivery.tool import Tool
from clf_export.errors import MissingToolError


def find_tool(tool: Tool) -> Path | None:
    """The Python of the first environment that has a tool: this one, then those on the PATH; None if none has it.

    A package of Node.js must be in a folder of NODE_PATH; this Python is then what runs `node`. No program is run to
    find it, files are looked for.
    """
    module = tool.module
    if not module:
        folders = filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep))
        there = shutil.which("node") and any((Path(folder) / tool.package).is_dir() for folder in folders)
        return Path(sys.executable) if there else None
    try:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:  # a mere folder of that name has no origin
            return Path(sys.executable)
    except ImportError:  # of the package that it is in
        pass
    for folder in map(Path, os.environ.get("PATH", "").split(os.pathsep)):
        for name in ("python", "python.exe"):
            if (folder / name).is_file() and any(_has(place, module) for place in _packages(folder)):
                return folder / name
    return None


def _packages(programs: Path) -> Iterator[Path]:
    yield from programs.parent.glob("lib/python3.*/site-packages")
    yield from programs.parent.glob("Lib/site-packages")


def _has(place: Path, module: str) -> bool:
    inside = place.joinpath(*module.split("."))
    return inside.is_dir() or inside.with_suffix(".py").exists() or any(place.glob(f"{module}.*.so"))


def needed_python(tool: Tool) -> Path:
    """The Python of an environment that has a tool. Raises MissingToolError with the install line."""
    found = find_tool(tool)
    if found is None:
        raise MissingToolError(
            f"{tool.about} is needed for this and not installed: pip install {tool.package}, here or in a virtual "
            "environment whose bin folder is on the PATH"
        )
    return found
