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
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

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


@dataclass(frozen=True)
class Cases:
    """A model's golden cases: class names, images as the model takes them, and probabilities [cases, classes].

    `familiarity` is [cases], of files with that output, and `picture` the golden picture, [1, height, width, 3] with
    its probabilities [1, classes], of those that take photos.
    """

    names: tuple[str, ...]
    images: np.ndarray
    expected: np.ndarray
    tolerance: float
    alone: bool  # whether the model takes one image at a time, as one for photos does
    familiarity: np.ndarray | None = None
    familiarity_tolerance: float = 0.0
    picture: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Differences:
    """The largest differences of a probability, of a familiarity, and of a probability of the golden picture."""

    probability: float
    familiarity: float | None = None
    picture: float | None = None

    def problem(self, cases: Cases) -> str | None:
        if self.probability > cases.tolerance:
            return "differs by more than the tolerance"
        if self.familiarity is not None and self.familiarity > cases.familiarity_tolerance:
            return f"the familiarity differs by {self.familiarity:.1e}"
        if self.picture is not None and self.picture > cases.tolerance:
            return f"the golden picture differs by {self.picture:.1e}"
        return None


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
    parser.add_argument("--answer", nargs=2, metavar=("IMAGES", "ANSWERS"), help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:  # this very script, inside the environment of an engine; see foreign_difference
        return answer_files(arguments.engine[0], arguments.models[0], *map(Path, arguments.answer), arguments.alone)
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


@functools.cache
def read_cases(model: Path) -> Cases:
    """The golden cases in a file. Raises Refusal if it has none or is not a model."""
    from clf_runtime import Classifier, ClfError
    from clf_runtime.inputs.files import picture_to_input
    from clf_runtime.model.golden import golden_images
    from clf_runtime.model.interface import in_colour

    try:
        card = Classifier.load(model, device="cpu").card
    except ClfError as error:
        raise Refusal(str(error)) from None
    if card.golden is None:
        raise Refusal("has no golden cases: export it again")
    expected = np.array(card.golden.probabilities, np.float32)
    images, is_photo = golden_images(card.golden, card), card.input == "photo"
    cases = Cases(card.names, in_colour(images) if is_photo else images, expected, card.golden.tolerance, is_photo)
    if (known := card.familiarity) is not None and known.golden:
        familiarity = np.array(known.golden, np.float32)
        cases = replace(cases, familiarity=familiarity, familiarity_tolerance=known.tolerance)
    if is_photo and (golden := card.golden_picture) is not None:
        pixels = picture_to_input(golden.data, "the golden picture", card)[None]
        cases = replace(cases, picture=(pixels, np.array([golden.probabilities], np.float32)))
    return cases


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


def our_difference(name: str, environment: Environment, model: Path, cases: Cases, scratch: Path) -> Differences:
    """Run the installed `clf-predict`: the self-test, then a file with one golden image, then one with all.

    The self-test includes familiarity and golden picture. Raises Refusal if a command fails.
    """
    command = [environment.programs / "clf-predict", "--model", model, "--json"]
    record = json.loads(call([*command, "--self-test"], fine=(0, 1)))
    if record["max_difference"] is None:
        raise Refusal(record["problem"])
    np.save(scratch / "one.npy", cases.images[0])
    np.save(scratch / "all.npy", cases.images)
    paths = [scratch / "one.npy", scratch / "all.npy"]
    lines = call([*command, "--quiet", "--top", str(len(cases.names)), *paths]).splitlines()
    rows = [{one["name"]: one["probability"] for one in json.loads(line)["top"]} for line in lines]
    answers = np.array([[row[name] for name in cases.names] for row in rows], np.float32)
    again = largest(answers, np.concatenate([cases.expected[:1], cases.expected]))
    if record["problem"] is not None and record["max_difference"] <= cases.tolerance:
        raise Refusal(record["problem"])
    return Differences(max(record["max_difference"], again))


def foreign_difference(name: str, environment: Environment, model: Path, cases: Cases, scratch: Path) -> Differences:
    """Run the golden images on an engine in its own environment, one by one and in a batch.

    Raises Refusal if the engine does not run the model.
    """
    images, answers = scratch / "images.npy", scratch / "answers.npz"

    def answered(batch: np.ndarray) -> list[np.ndarray]:
        np.save(images, batch)
        alone = ["--alone"] if cases.alone else []
        call([environment.programs / "python", __file__, model, "--engine", name, "--answer", images, answers, *alone])
        with np.load(answers) as found:
            return [found[key] for key in found.files]

    first, *others = answered(cases.images)
    found = Differences(largest(first, np.stack([cases.expected, cases.expected])))
    if cases.familiarity is not None:
        if not others:
            raise Refusal("gives no familiarity")
        expected = np.stack([cases.familiarity, cases.familiarity])
        found = replace(found, familiarity=largest(others[0].reshape(expected.shape), expected))
    if cases.picture is not None:
        pixels, expected = cases.picture
        found = replace(found, picture=largest(answered(pixels)[0], np.stack([expected, expected])))
    return found


def answer_files(name: str, model: Path, images: Path, answers: Path, alone_only: bool) -> int:
    """Run the images of a file, one by one and in a batch, and write the outputs, each as float32 [2, cases, ...].

    With `alone_only` there is no batch, and the outputs of single images are written twice.
    """
    batch = np.load(images)
    try:
        run = FOREIGN[name](str(model))
        # copied: engines reuse their buffers
        singly = [[np.array(output) for output in run(batch[i : i + 1])] for i in range(len(batch))]
        alone = [np.concatenate(outputs) for outputs in zip(*singly, strict=True)]
        together = alone if alone_only else run(batch)
        np.savez(answers, *(np.stack(pair) for pair in zip(alone, together, strict=True)))
    except Exception as error:  # each engine has its own
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _reference(model):  # type: ignore[no-untyped-def]
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnx.version_converter import convert_version

    loaded = onnx.load(model)
    if any(node.op_type == "DequantizeLinear" for node in loaded.graph.node):
        loaded = convert_version(loaded, 19)  # supported by the evaluator from there on, with the same semantics
    evaluator = ReferenceEvaluator(loaded)
    return lambda images: evaluator.run(None, {evaluator.input_names[0]: images})


def _openvino(model):  # type: ignore[no-untyped-def]
    import openvino

    # In float32: by default OpenVINO uses bfloat16 on processors that have it.
    compiled = openvino.Core().compile_model(model, "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"})
    return lambda images: list(compiled(images).values())


def _opencv(model):  # type: ignore[no-untyped-def]
    import cv2

    net = cv2.dnn.readNetFromONNX(model)

    def run(images):  # type: ignore[no-untyped-def]
        net.setInput(images)
        return net.forward(net.getUnconnectedOutLayersNames())

    return run


def _tract(model):  # type: ignore[no-untyped-def]
    import tract

    @functools.cache
    def runnable(shape, dtype):  # type: ignore[no-untyped-def]
        loaded = tract.onnx().load(model)
        loaded.set_input_fact(0, f"{','.join(map(str, shape))},{dtype}")
        return loaded.into_model().into_runnable()

    names = {"uint8": "u8", "float32": "f32"}
    return lambda images: [
        output.to_numpy() for output in runnable(images.shape, names[str(images.dtype)]).run([images])
    ]


FOREIGN = {"reference": _reference, "openvino": _openvino, "opencv": _opencv, "opencv4": _opencv, "tract": _tract}


def largest(answers: np.ndarray, expected: np.ndarray) -> float:
    """The largest absolute difference of a probability. Raises Refusal for another shape or outputs not finite."""
    if answers.shape != expected.shape or not np.isfinite(answers).all():
        raise Refusal(f"gives {answers.dtype} {list(answers.shape)}, or outputs that are not finite")
    return float(np.abs(answers - expected).max())


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
