"""Diagnosis of a device: each check gives one line, and nothing that is tried can crash the whole.

numpy, onnxruntime and the model are tried in child processes only, so that a wheel which crashes on this processor
gives a message.
"""

import importlib.metadata
import json
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clf_runtime import __version__
from clf_runtime.diagnostics.subprocesses import Ended, run_python
from clf_runtime.diagnostics.troubleshooting import explain_end, last_line
from clf_runtime.engine.system_package import has_wheel, how_to_install
from clf_runtime.engine.threads import usable_processors
from clf_runtime.errors import ClfError, ModelError
from clf_runtime.model.file import default_model, find_model, read_head
from clf_runtime.system import UNKNOWN_MEMORY, physical_memory

_SECONDS = 60.0  # for one child process
_OLDEST = {"Python": (3, 11), "numpy": (1, 26), "onnxruntime": (1, 17)}
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_REMOTE = {"AzureExecutionProvider"}  # calls a remote service: not a device, though in every default wheel
# Wheels that install the module onnxruntime over each other, where a wheel's list of files is missing.
_ENGINES = {
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-training"),
    *("onnxruntime-qnn", "onnxruntime-rocm", "onnxruntime-migraphx", "onnxruntime-silicon", "ort-nightly"),
    *("ort-nightly-gpu", "ort-nightly-directml"),
}

_IMPORT = """
import json, sys
from importlib import import_module
m = import_module(sys.argv[1])
version, file = (getattr(m, name, None) for name in ("__version__", "__file__"))
providers = m.get_available_providers() if hasattr(m, "get_available_providers") else []
print("\\n" + json.dumps({"version": version, "file": file, "providers": providers}))
"""
_PROVIDER = """
import json, sys
from clf_runtime.errors import ClfError
from clf_runtime.engine.engine import open_engine
file, provider = sys.argv[1:]
try:
    with open(file, "rb") as stream:
        answer = {"ran": open_engine(stream.read(), file, device=provider).provider}
except ClfError as error:
    answer = {"failed": str(error)}
print("\\n" + json.dumps(answer))
"""

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """The result of one check: its status, what was found, and what to do unless it is ok."""

    name: str
    status: Status
    text: str
    advice: str = ""


def examine(model: str | Path | None = None) -> Iterator[Check]:
    """Yield the checks of this device and of a model (see find_model), one by one. Raises nothing."""
    yield check_python()
    yield check_platform()
    numpy, _ = check_import("numpy")
    yield numpy
    wheels = installed_engines()
    onnxruntime, facts = check_import("onnxruntime")
    yield check_wheels(wheels, facts)
    yield onnxruntime
    works = numpy.status != "problem" and onnxruntime.status != "problem"
    if works:
        for provider in (name for name in facts["providers"] if name not in _REMOTE):
            yield check_provider(str(provider))
    yield check_pillow()
    said: list[str] = []
    try:
        file = find_model(model or None, said.append)
    except ClfError as error:
        yield Check("model", "problem", str(error))
        return
    yield from (Check("hub", "ok", text) for text in said)
    yield from check_model(file, works=works)


def check_python() -> Check:
    """Whether this Python is recent enough."""
    text = f"{platform.python_implementation()} {platform.python_version()}, clf-edge {__version__}, {sys.executable}"
    oldest = _OLDEST["Python"]
    if sys.version_info[:2] < oldest:
        return Check("Python", "problem", text, f"install Python {oldest[0]}.{oldest[1]} or later")
    return Check("Python", "ok", text)


def check_platform() -> Check:
    """The machine."""
    memory = physical_memory()
    told = "unknown" if memory >= UNKNOWN_MEMORY else f"{memory / (1 << 20):,.0f} MiB"
    bits = 64 if sys.maxsize > 1 << 32 else 32
    usable = f"{usable_processors()} processors usable, memory {told}"
    text = f"{platform.platform()}, {platform.machine()}, {bits}-bit, {usable}"
    if not has_wheel():
        text += "; no wheel of onnxruntime is made for it, the system's package is needed"
    return Check("platform", "ok", text)


def check_import(package: str) -> tuple[Check, dict[str, Any]]:
    """Import a package in a child process. Returns the check, and the version, file and providers."""
    ended = _run(["-c", _IMPORT, package])
    facts = _answer(ended)
    if not isinstance(facts, dict):
        return Check(package, "problem", *explain_end(ended, f"the import of {package}", package)), {"providers": []}
    version = facts["version"]
    if not isinstance(version, str):
        text = f"only an empty folder named {package} is left of an earlier install"
        return Check(package, "problem", text, f"pip install --force-reinstall {package}"), {"providers": []}
    oldest = _OLDEST[package]
    if _release(version) < oldest:
        advice = f'pip install --upgrade "{package}>={oldest[0]}.{oldest[1]}"'
        return Check(package, "problem", f"{version} is too old for clf-edge", advice), facts
    return Check(package, "ok", f"{version}, {facts['file']}"), facts


def installed_engines() -> dict[str, str]:
    """The installed wheels that contain the module onnxruntime: their names and versions."""
    found = {}
    for wheel in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", str(wheel.metadata["Name"] or "")).lower()
        if not name.startswith(("onnxruntime", "ort-")):
            continue
        files = wheel.files
        if name in _ENGINES if files is None else any(str(f) == "onnxruntime/__init__.py" for f in files):
            found[name] = str(wheel.version)
    return found


def check_wheels(wheels: dict[str, str], facts: dict[str, Any]) -> Check:
    """Whether exactly one wheel contains onnxruntime, and that is the one that is imported."""
    text = ", ".join(f"{name} {version}" for name, version in wheels.items()) or "none"
    if len(wheels) > 1:
        advice = (
            f'pip uninstall -y {" ".join(wheels)}, then {how_to_install()} (with CUDA: pip install "clf-edge[gpu]")'
        )
        return Check("wheels", "problem", f"{text}: they overwrite each other", advice)
    version = facts.get("version")
    if not wheels:
        if version:
            return Check("wheels", "warning", f"onnxruntime {version} is installed, but pip does not know its wheel")
        advice = how_to_install() + (' (with CUDA: "clf-edge[gpu]")' if has_wheel() else "")
        return Check("wheels", "problem", "no onnxruntime is installed", advice)
    [(name, stated)] = wheels.items()
    if version and _release(str(version)) != _release(stated):
        advice = f"pip uninstall -y {name}, then {how_to_install()}"
        return Check("wheels", "problem", f"{text}, but {version} is imported: overwritten by another wheel", advice)
    return Check("wheels", "ok", text)


def check_provider(provider: str) -> Check:
    """Try a provider as `--device` does, in a child process: open a session on it alone, and run it once."""
    ended = _run(["-c", _PROVIDER, str(default_model()), provider])
    answer = _answer(ended)
    answer = answer if isinstance(answer, dict) else {}
    device = provider.removesuffix("ExecutionProvider").lower()
    if answer.get("ran") == provider:
        return Check(provider, "ok", "works" if provider == _CPU else f"works: --device {device}")
    if "failed" in answer:
        ended = Ended(1, "", answer["failed"].partition(" does not work here: ")[2] or answer["failed"])
    why, advice = explain_end(ended, f"a session on {provider}", "onnxruntime")
    if provider == _CPU:
        return Check(provider, "problem", why, advice)
    text = f"is built in, but does not work here: {why}"
    if provider != _CUDA:
        return Check(provider, "ok", f"{text}; only --device {device} would use it")
    advice = "install the CUDA and cuDNN versions that this onnxruntime is built for; until then the CPU is used"
    return Check(provider, "warning", text, advice)


def check_pillow() -> Check:
    """Whether PNG and JPEG files can be read, which is optional."""
    try:
        return Check("Pillow", "ok", importlib.metadata.version("pillow"))
    except importlib.metadata.PackageNotFoundError:
        return Check("Pillow", "ok", 'is not installed; to read PNG and JPEG: pip install "clf-edge[images]"')


def check_model(file: Path, *, works: bool) -> Iterator[Check]:
    """Whether a model can be run and passes its self-test: in a child process, on the device that `auto` chooses."""
    try:
        head = read_head(file)
    except ModelError as error:
        advice = "copy it again and compare its SHA-256 with that of the export"
        yield Check("model", "problem", str(error), advice if file.is_file() else "pass the path of an .onnx file")
        return
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in head.opsets.items())
    stamp = f"{file}: IR {head.ir_version}, opset {opsets}"
    if not works:
        yield Check("model", "warning", f"{stamp}; not tried", "fix numpy and onnxruntime first")
        return
    arguments = ["-m", "clf_runtime", f"--model={file}", "--self-test", "--json"]
    ended = _run(arguments)
    if ended.code not in (0, 1, 2):
        yield Check("model", "problem", *explain_end(ended, f"{stamp}; running it", "onnxruntime"))
        return
    said = last_line(ended.err, 600).removeprefix("clf-predict: ").removeprefix(f"{file}: ")
    has_cases = not re.search("no golden cases|--assume", said)  # a file without a card may need --assume
    if ended.code == 2 and has_cases:
        unfit = re.search(r"IR version|opset", said, re.IGNORECASE)
        advice = "pip install --upgrade onnxruntime, or export the model again" if unfit else ""
        yield Check("model", "problem", f"{stamp}; {said}", advice)
        return
    yield Check("model", "ok", f"{stamp}; this onnxruntime runs it")
    if not has_cases:
        yield Check("self-test", "warning", said, "without them its outputs on this device cannot be verified")
        return
    result = _answer(ended)
    result = result if isinstance(result, dict) else {}
    if ended.code == 0 and result.get("passed") is True:
        largest, most = result["max_difference"], result["tolerance"]
        picture = " and a picture" * (result.get("picture") == "agrees")
        what = f"{len(result['cases'])} golden cases{picture} on {result['provider']}"
        text = f"passed: {what}, max. difference {largest:.1e}, tolerance {most:g}"
        yield Check("self-test", "ok", text)
    else:
        advice = "compare the file's SHA-256 with the export's; if they match, try another release of onnxruntime"
        yield Check("self-test", "problem", f"FAILED: {result.get('problem') or said or 'no result'}", advice)


def _run(arguments: list[str]) -> Ended:
    try:
        return run_python(arguments, _SECONDS)
    except OSError as error:
        return Ended(1, "", f"cannot start a process: {error.strerror or error}")


def _answer(ended: Ended) -> Any:
    """The last line that a child process printed, as JSON; None if it failed or printed something else."""
    try:
        return json.loads(last_line(ended.out, 100_000)) if ended.code in (0, 1) else None
    except ValueError:
        return None


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.partition("+")[0])[:3])
