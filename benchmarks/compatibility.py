"""Run the golden cases of model files on the oldest and the newest onnxruntime, and on other engines.

usage: python benchmarks/compatibility.py MODEL... [--engine NAME ...] [--if-there] [--work FOLDER] [--python PROGRAM]

Each engine has its own virtual environment, in a temporary folder or, for reuse, in --work. For onnxruntime this
checkout is installed as on a device, with its extra `cpu` and without PyTorch: `clf-predict --self-test` must pass, and
`clf-predict` must reproduce the probabilities of the golden cases. The other engines run the golden images without
clf-edge, one by one and in a batch, with both outputs where there are two; for a file that takes photos also the golden
picture, decoded here, which the graph resizes. The last line is one JSON object. The exit code is 0 if both onnxruntime
versions and ONNX's reference evaluator pass for every file, else 1; OpenVINO, OpenCV and tract are only reported, and
so is an engine that is not available, with --if-there.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from engine_environments import ENGINES, Absent, Environment, Refusal, make_environment
from golden_differences import foreign_difference, our_difference, read_cases


@dataclass(frozen=True)
class Result:
    """An engine's result for a model: the largest difference of a probability, the file's tolerance, what failed.

    An engine that is `absent` was not run.
    """

    engine: str
    package: str
    version: str
    numpy: str
    python: str
    model: str
    required: bool
    difference: float | None
    tolerance: float | None
    problem: str | None
    absent: bool
    familiarity: float | None = None
    picture: float | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help=".onnx files with golden cases")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only this one; may be repeated (all)")
    parser.add_argument("--if-there", action="store_true", help="one that cannot be had is told of, and no failure")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep the environments here (a temporary folder)")
    parser.add_argument("--python", default=sys.executable, help="creates the environments (this Python)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with clean-up
    results = []
    try:
        with tempfile.TemporaryDirectory(prefix="clf-compatibility-") as scratch:
            work = (arguments.work or Path(scratch)).resolve()
            for name in arguments.engine or ENGINES:
                tried = try_engine(name, arguments.models, work, Path(scratch), arguments.python)
                results += [replace(r, required=r.required and not (r.absent and arguments.if_there)) for r in tried]
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print("\n".join(table(results)))
    passed = all(r.problem is None for r in results if r.required)
    print(json.dumps({"passed": passed, "results": [asdict(r) for r in results]}, allow_nan=False))
    return 0 if passed else 1


def try_engine(name: str, models: Sequence[Path], work: Path, scratch: Path, python: str) -> Iterator[Result]:
    """Make an engine's environment, and yield its result for each model."""
    engine, environment, broken, absent = ENGINES[name], Environment(Path(), "", "", ""), None, False
    try:
        environment = make_environment(name, work, python)
    except Refusal as refusal:
        broken, absent = str(refusal), isinstance(refusal, Absent)
        print(f"{name} IS NOT TRIED: {broken}", file=sys.stderr)
    for model in models:
        found, tolerance, problem = None, None, broken
        if broken is None:
            try:
                cases = read_cases(model)
                tolerance = cases.tolerance
                measure = our_difference if engine.ours else foreign_difference
                found = measure(name, environment, model.resolve(), cases, scratch)
                problem = found.problem(cases)
            except Refusal as refusal:
                problem = str(refusal)
        told = environment.version, environment.numpy, environment.python
        difference = None if found is None else found.probability
        more = (None, None) if found is None else (found.familiarity, found.picture)
        judged = (engine.required, difference, tolerance, problem, absent)
        yield Result(name, engine.package, *told, model.name, *judged, *more)


def table(results: Sequence[Result]) -> list[str]:
    """The results as aligned lines of text."""
    rows = [("engine", "version", "numpy", "Python", "model", "difference", "allowed", "")]
    for r in results:
        numbers = ("" if number is None else f"{number:.1e}" for number in (r.difference, r.tolerance))
        more = ((r.familiarity, "familiarity"), (r.picture, "golden picture"))
        also = "".join(f", {what} {number:.1e}" for number, what in more if number is not None)
        failed = f"{'FAILED' if r.required else 'does not pass'}: {r.problem}"
        verdict = f"passed{also}" if r.problem is None else failed
        rows.append((r.engine, f"{r.package} {r.version}", r.numpy, r.python, r.model, *numbers, verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows]


if __name__ == "__main__":
    sys.exit(main())
