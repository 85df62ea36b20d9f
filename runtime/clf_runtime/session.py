"""onnxruntime, opened the way a small model on a device wants it: quiet, one thread, and honest about the provider."""

import os
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from clf_runtime.errors import DeviceError, MissingExtraError, ModelError, brief

DEVICES = ("auto", "cpu", "cuda")
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# The key of an entry of TensorProto.external_data, in any encoding that protobuf allows.
_EXTERNAL_DATA = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
_SOURCE_PLACE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])")
_INSTALL = 'pip install "clf-edge[cpu]" (on a machine with CUDA: pip install "clf-edge[gpu]")'


@dataclass(frozen=True)
class Session:
    """An open onnxruntime session, the provider that really runs it, and what has to be said about the choice."""

    ort: Any
    provider: str
    notes: tuple[str, ...] = ()


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry off and its log silent.

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
    onnxruntime.set_default_logger_severity(4)
    module: ModuleType = onnxruntime
    return module


def open_session(model: bytes, where: str, *, device: str = "auto", threads: int = 1) -> Session:
    """Open a session over the bytes of an `.onnx` file.

    `device` is `auto` (CUDA if a real session on it answers, else the CPU), `cpu` or `cuda` (which never falls back);
    `threads` is the count of intra-op threads. Raises ModelError if the bytes are no model that this onnxruntime runs,
    DeviceError if the device does not work, MissingExtraError without onnxruntime; `where` names the file in each.
    """
    if device not in DEVICES:
        raise DeviceError(f"device {device!r} is unknown: choose one of {', '.join(DEVICES)}")
    if threads < 1:
        raise DeviceError(f"threads must be 1 or more, not {threads}")
    if _EXTERNAL_DATA.search(model):
        raise ModelError(f"{where}: keeps weights in other files (external data), which are never opened")
    ort = import_onnxruntime()
    if device == "cpu" or (device == "auto" and _CUDA not in ort.get_available_providers()):
        return Session(_open_on_cpu(ort, model, where, threads), _CPU)
    try:
        return Session(_open_on_cuda(ort, model, where, threads), _CUDA)
    except DeviceError as error:
        if device == "cuda":
            raise
        return Session(_open_on_cpu(ort, model, where, threads), _CPU, (f"running on the CPU: {error}",))


def _open_on_cpu(ort: ModuleType, model: bytes, where: str, threads: int) -> Any:
    try:
        return ort.InferenceSession(model, _options(ort, threads), providers=[_CPU], enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise ModelError(
            f"{where}: not an ONNX model that onnxruntime {ort.__version__} runs: {_plain(error)}"
        ) from None


def _open_on_cuda(ort: ModuleType, model: bytes, where: str, threads: int) -> Any:
    """Open a session on CUDA and let it answer once, since what is missing may show only then."""
    if _CUDA not in ort.get_available_providers():
        raise DeviceError(
            f"CUDA does not work here: the installed onnxruntime {ort.__version__} is built without it; "
            'pip uninstall onnxruntime, then pip install "clf-edge[gpu]"'
        )
    options = _options(ort, threads)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    tf32 = {"use_tf32": "0"} if _version(ort) >= (1, 18) else {}
    try:
        session = ort.InferenceSession(model, options, providers=[(_CUDA, tf32)], enable_fallback=0)
        providers = session.get_providers()
        if _CUDA not in providers:
            raise RuntimeError(f"onnxruntime opened the session on {', '.join(providers)} instead")
        _answer_once(session)
    except Exception as error:
        _open_on_cpu(ort, model, where, threads)  # a file that is no model is the model's fault, not the device's
        raise DeviceError(f"CUDA does not work here: {brief(error)}") from None
    return session


def _options(ort: ModuleType, threads: int) -> Any:
    """One thread that does not spin: at under 0.1 ms an image, handing work to threads costs more than it saves."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def _answer_once(session: Any) -> None:
    import numpy as np

    inputs = {}
    for node in session.get_inputs():
        shape = [n if isinstance(n, int) else 1 for n in node.shape]
        inputs[node.name] = np.zeros(shape, np.uint8 if node.type == "tensor(uint8)" else np.float32)
    session.run(None, inputs)


def _plain(error: Exception) -> str:
    """What onnxruntime says, without the place in its own source that stands before it and pushes it out of sight."""
    return brief(Exception(_SOURCE_PLACE.sub("", str(error))))


def _version(ort: ModuleType) -> tuple[int, int]:
    major, minor = ort.__version__.split(".")[:2]
    return int(major), int(minor)
