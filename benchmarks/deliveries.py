"""Hand model files to other tools (`clf-export --for`), and run each tool on the golden cases.

    python benchmarks/deliveries.py MODEL... [--tool NAME ...] [--if-there] [--work FOLDER]

Each tool is installed from its package index into an environment of its own in --work, and is there the next time; to
have newer versions, remove the folder. A row is a tool and a file: the largest difference of a probability on golden
cases, by the tool itself, and of the golden picture, by tools that resize pictures themselves, which are given it
flattened. The last line is one JSON object. A tool that refuses a file is a row that says so. The exit code is 1 if a
tool cannot be installed, which with --if-there is said only.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from engine_environments import Refusal, call

from clf_export.delivery.environment import find_tool
from clf_export.delivery.original import Original, read_original
from clf_export.delivery.proof import prove_by_onnxruntime, try_tool
from clf_export.delivery.tool import Tool
from clf_export.delivery.tools import TOOLS
from clf_runtime import ClfError
from clf_runtime.inputs.pictures import decode_picture

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clf-edge" / "deliveries"
PATH = os.environ["PATH"]
INSTALL_SECONDS = 3600  # some are gigabytes
RESIZE = ("openvino", "transformers", "ultralytics")  # these take pictures of any size
BESIDE = {"transformers": ("pillow",), "ultralytics": ("onnxruntime", "onnx"), "litert": ("tflite-micro",)}
MICRO = replace(
    TOOLS["litert"],
    name="tflite-micro",
    package="tflite-micro",
    about="TensorFlow Lite Micro",
    trial="run_tflite_micro.py",
)


@dataclass(frozen=True)
class Row:
    """What a tool answered for a file; `problem` says why it could not be run."""

    tool: str
    file: str
    version: str = ""
    difference: float | None = None
    same_class: str = ""
    picture: float | None = None
    problem: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="files of clf-export")
    parser.add_argument("--tool", action="append", choices=TOOLS, help="only this one; may be repeated (all)")
    parser.add_argument("--if-there", action="store_true", help="one that cannot be had is told of, and no failure")
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", default=CACHE, help="keep the environments here (%(default)s)"
    )
    arguments = parser.parse_args()
    rows, absent = [], False
    for name in arguments.tool or TOOLS:
        try:
            install(TOOLS[name], arguments.work.resolve() / name)
        except Refusal as refusal:
            absent = True
            print(f"{name} is skipped: it cannot be installed: {refusal}", file=sys.stderr, flush=True)
            made = [Row(name, model.name, problem=f"cannot be installed: {refusal}") for model in arguments.models]
        else:
            made = [row for model in arguments.models for row in rows_of(TOOLS[name], model)]
        rows += made
        print("\n".join(map(line, made)), flush=True)
    print(json.dumps([asdict(row) for row in rows]))
    return 1 if absent and not arguments.if_there else 0


def install(tool: Tool, folder: Path) -> None:
    """Let a tool be installed in an environment of its own, and that alone be on the path. Raises Refusal."""
    packages, ready = " ".join([tool.package, *BESIDE.get(tool.name, ())]), folder / "ready"
    if not ready.exists() or ready.read_text("utf-8") != packages:
        print(f"installing {packages}", file=sys.stderr, flush=True)
        ready.unlink(missing_ok=True)
        if tool.module:
            call([sys.executable, "-m", "venv", "--clear", folder])
            pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
            call([*pip, *packages.split()], seconds=INSTALL_SECONDS)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            npm = ["npm", "install", "--silent", "--ignore-scripts", "--prefix", folder]
            call([*npm, *packages.split()], seconds=INSTALL_SECONDS)
        ready.write_text(packages, "utf-8")
    os.environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{PATH}"
    os.environ["NODE_PATH"] = str(folder / "node_modules")


def rows_of(tool: Tool, model: Path) -> list[Row]:
    """Write a delivery and run its tool; for LiteRT also the microcontrollers' interpreter, on both files."""
    row = Row(tool.name, model.name)
    try:
        original = read_original(model)
        with tempfile.TemporaryDirectory(prefix="clf-deliveries-") as folder:
            place = Path(folder) / f"{model.stem}{tool.suffix}"
            if tool.folder:
                place.mkdir()
            prove_by_onnxruntime(original, tool.write(original, place))
            rows = [tried(row, tool, place, original)]
            if tool.name == "litert":
                for file in sorted(place.glob("*.tflite")):
                    more = replace(row, file=f"{model.name} as {file.name}")
                    if file.name != "model.tflite":
                        rows.append(tried(more, tool, file, original))
                    rows.append(tried(replace(more, tool=MICRO.name), MICRO, file, original))
        return rows
    except ClfError as error:
        return [replace(row, problem=" ".join(str(error).split()))]


def tried(row: Row, tool: Tool, place: Path, original: Original) -> Row:
    """The row of a tool that is tried on a delivery."""
    python = find_tool(tool)
    if python is None:
        return replace(row, problem="is not installed")
    try:
        answers, version = try_tool(python, tool, place, original.images)
        if answers.shape != original.expected.shape or not np.isfinite(answers).all():
            return replace(row, version=version, problem=f"gives {list(answers.shape)}, or what is not finite")
        same = int((answers.argmax(axis=1) == original.expected.argmax(axis=1)).sum())
        difference = float(np.abs(answers - original.expected).max())
        row = replace(row, version=version, difference=difference, same_class=f"{same} of {len(answers)}")
        golden = original.card.golden_picture
        if golden is not None and tool.name in RESIZE and original.card.dtype == "uint8":
            card = original.card
            pixels = decode_picture(golden.data, "the golden picture", 3, None, card.picture_geometry)
            answers, _ = try_tool(python, tool, place, pixels.transpose(2, 0, 1)[None])
            row = replace(row, picture=float(np.abs(answers - np.array(golden.probabilities, np.float32)).max()))
        return row
    except ClfError as error:
        return replace(row, problem=" ".join(str(error).split()))


def line(row: Row) -> str:
    """A row as text."""
    numbers = "" if row.difference is None else f"{row.difference:.1e}, class {row.same_class}"
    picture = "" if row.picture is None else f", golden picture {row.picture:.1e}"
    return f"{row.tool:<13} {row.version:<44} {row.file:<34} {numbers}{picture}{row.problem}"


if __name__ == "__main__":
    sys.exit(main())
