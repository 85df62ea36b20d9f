"""onnxruntime, opened the way a small model on a device wants it: quiet, one thread, and honest about the provider."""

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from clf_runtime.errors import DeviceError, MissingExtraError, ModelError, brief

_SUFFIX = "ExecutionProvider"
CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# The key of an entry of TensorProto.external_data, in any encoding that protobuf allows.
_LOCATION = b"location"
_EXTERNAL_DATA = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)\Z")
_KEY_BYTES = 20  # that may stand before it: two numbers of ten bytes, the longest that protobuf reads
_SOURCE_PLACE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])")
LOG_LEVELS = ("verbose", "info", "warning", "error", "fatal")  # onnxruntime's, by their numbers
_SILENT = 4  # fatal, after which there is no process to be quiet
_LOG_LOCK = threading.Lock()
_shown_from: int | None = None  # None until onnxruntime has been imported here
_INSTALL = 'pip install "clf-edge[cpu]" (on a machine with CUDA: pip install "clf-edge[gpu]")'


@dataclass(frozen=True)
class Session:
    """An open onnxruntime session, the provider that really runs it, and what has to be said about the choice."""

    ort: Any
    provider: str
    notes: tuple[str, ...] = ()


def import_onnxruntime(log: str | None = None) -> ModuleType:
    """Import onnxruntime with its telemetry off, and its log silent or, from the level `log` on, on stderr.

    The log of what the process does outside of sessions is one: of those who ask, the one who wants the most is heard.

    Its official wheels from 1.29 on send telemetry and make a device id when they are imported, unless
    ORT_DISABLE_TELEMETRY=1 is set before that (https://github.com/microsoft/onnxruntime/pull/27379); whoever has set
    the variable is obeyed. Raises MissingExtraError with the install line if there is no onnxruntime.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if error.name == "onnxruntime":
            raise MissingExtraError(f"onnxruntime is not installed: {_INSTALL}") from None
        raise MissingExtraError(f"onnxruntime cannot be imported ({brief(error)}); reinstall it: {_INSTALL}") from None
    if not hasattr(onnxruntime, "InferenceSession"):  # Python takes any folder of the name for a package
        raise MissingExtraError(f"onnxruntime is gone but for a folder of its name; reinstall it: {_INSTALL}")
    _show_from(onnxruntime, _severity(log))
    module: ModuleType = onnxruntime
    return module


def _show_from(onnxruntime: ModuleType, severity: int) -> None:
    """Set what the process shows outside of sessions, unless more of it has been asked for already.

    There is one such level for all: whoever asks for less, or for none, must not silence another who asked for more.
    """
    global _shown_from
    with _LOG_LOCK:
        if _shown_from is None or severity < _shown_from:
            onnxruntime.set_default_logger_severity(severity)
            _shown_from = severity


def check_log_level(log: str | None) -> None:
    """Raise DeviceError unless this is one of LOG_LEVELS, in any case of its letters, or None."""
    if log is not None and log.casefold() not in LOG_LEVELS:
        raise DeviceError(f"log level {log!r} is unknown: choose {', '.join(LOG_LEVELS)}")


def _severity(log: str | None) -> int:
    check_log_level(log)
    return _SILENT if log is None else LOG_LEVELS.index(log.casefold())


def open_session(
    model: bytes, where: str, *, device: str = "auto", tf32: bool = False, log: str | None = None
) -> Session:
    """Open a session over the bytes of an `.onnx` file.

    `device` is `auto` (CUDA if a real session on it answers, else the CPU), `cpu`, `cuda`, or any other execution
    provider of the installed onnxruntime, by its name with or without "ExecutionProvider", whatever its case. Only
    `auto` ever takes another than the one that was asked for, and its notes say so. `tf32` lets CUDA round the factors
    of products to 10 bits, which is faster and less exact. `log` shows onnxruntime's own log on stderr from a level on
    (see LOG_LEVELS), for this session, and for what the process does outside of sessions.
    Raises ModelError if the bytes are no model that this onnxruntime runs, DeviceError if the device does not work,
    MissingExtraError without onnxruntime; `where` names the file in each.
    """
    if _has_external_data(model):
        raise ModelError(f"{where}: keeps weights in other files (external data), which are never opened")
    ort = import_onnxruntime(log)
    available = ort.get_available_providers()
    provider = CPU if device == "auto" and _CUDA not in available else find_provider(device, available)
    if provider == CPU:
        return Session(_open_on_cpu(ort, model, where, log), CPU)
    try:
        return Session(_open_on(ort, provider, model, where, tf32, log), provider)
    except DeviceError as error:
        if device != "auto":
            raise
        return Session(_open_on_cpu(ort, model, where, log), CPU, (f"running on the CPU: {error}",))


def _has_external_data(model: bytes) -> bool:
    """Whether a tensor's data is said to lie in another file. Looking for the word alone first is 15 times as fast."""
    at = model.find(_LOCATION)
    while at >= 0:
        if _EXTERNAL_DATA.search(model[max(0, at - _KEY_BYTES) : at]):
            return True
        at = model.find(_LOCATION, at + 1)
    return False


def find_provider(device: str, available: Sequence[str]) -> str:
    """The execution provider of a device's name among those that onnxruntime is built with; CUDA's for `auto`.

    Raises DeviceError with what there is if none has that name.
    """
    wanted = {"auto": "cuda"}.get(device, device).casefold().removesuffix(_SUFFIX.casefold())
    known = {provider.removesuffix(_SUFFIX).casefold(): provider for provider in available}
    if wanted in known:
        return known[wanted]
    if wanted == "cuda":
        raise DeviceError(
            f"CUDA does not work here: the installed onnxruntime {import_onnxruntime().__version__} is built without "
            'it; pip uninstall onnxruntime, then pip install "clf-edge[gpu]"'
        )
    raise DeviceError(f"device {device!r} is unknown: the installed onnxruntime has auto, {', '.join(sorted(known))}")


def _open_on_cpu(ort: ModuleType, model: bytes, where: str, log: str | None) -> Any:
    try:
        return ort.InferenceSession(model, _options(ort, log), providers=[CPU], enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise ModelError(
            f"{where}: not an ONNX model that onnxruntime {ort.__version__} runs: {plain(error)}"
        ) from None


def _open_on(ort: ModuleType, provider: str, model: bytes, where: str, tf32: bool, log: str | None) -> Any:
    """Open a session on a provider other than the CPU's and let it answer once: what is missing may show only then.

    The CPU may take no part of the work; without that setting onnxruntime falls back to it and only logs that it did
    (https://onnxruntime.ai/docs/execution-providers/).
    """
    options = _options(ort, log)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    name = provider.removesuffix(_SUFFIX)
    settings = {"use_tf32": str(int(tf32))} if provider == _CUDA and _version(ort) >= (1, 18) else {}
    try:
        session = ort.InferenceSession(model, options, providers=[(provider, settings)], enable_fallback=0)
        found = session.get_providers()
        if provider not in found:
            reason = _missing_library(ort, name) or f"onnxruntime opened the session on {', '.join(found)} instead"
            raise RuntimeError(reason)
        _answer_once(session)
    except Exception as error:
        _open_on_cpu(ort, model, where, log)  # a file that is no model is the model's fault, not the device's
        raise DeviceError(f"{name} does not work here: {plain(error)}") from None
    return session


def _missing_library(ort: ModuleType, name: str) -> str | None:
    """Why the shared library of a provider does not load, in the system's words; None if it does, or there is none.

    onnxruntime itself only logs it.
    """
    library = Path(ort.__file__ or "").parent / "capi" / f"libonnxruntime_providers_{name.lower()}.so"
    if not library.is_file():
        return None
    import ctypes

    try:
        ctypes.CDLL(str(library.with_name("libonnxruntime_providers_shared.so")), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        return f"a library does not load: {error}"
    return None


def _options(ort: ModuleType, log: str | None) -> Any:
    """One thread that does not spin: at under 0.1 ms an image, handing work to threads costs more than it saves.

    docs/runtime.md has what each setting is worth. Several threads each run the session on images of their own.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.load_model_format", "ONNX"
    )  # not ORT's own, which hides what it refers to
    options.log_severity_level = _severity(log)
    return options


def is_onnxruntimes(error: Exception) -> bool:
    """Whether onnxruntime raised this, whose exceptions share no base, and not, say, a signal handler."""
    return type(error).__module__.startswith("onnxruntime") or type(error) in (RuntimeError, ValueError, TypeError)


def _answer_once(session: Any) -> None:
    import numpy as np

    inputs = {}
    for node in session.get_inputs():
        shape = [n if isinstance(n, int) else 1 for n in node.shape]
        inputs[node.name] = np.zeros(shape, np.uint8 if node.type == "tensor(uint8)" else np.float32)
    session.run(None, inputs)


def plain(error: Exception) -> str:
    """What onnxruntime says, without the place in its own source that stands before it and pushes it out of sight."""
    return brief(Exception(_SOURCE_PLACE.sub("", str(error))))


def _version(ort: ModuleType) -> tuple[int, int]:
    major, minor = ort.__version__.split(".")[:2]
    return int(major), int(minor)
