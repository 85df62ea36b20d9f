"""The installed onnxruntime: imported with telemetry and log off, and queried for its providers."""

import io
import os
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import ModuleType

from clf_runtime.engine.system_package import has_wheel, how_to_install
from clf_runtime.errors import DeviceError, MissingExtraError, brief

_SUFFIX = "ExecutionProvider"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
LOG_LEVELS = ("verbose", "info", "warning", "error", "fatal")  # onnxruntime's, in the order of their numbers
_SILENT = 4  # fatal
_LOG_LOCK = threading.Lock()
_shown_from: int | None = None  # None until onnxruntime has been imported here
_WITH_CUDA = ' (on a machine with CUDA: pip install "clf-edge[gpu]")'


def import_onnxruntime(log: str | None = None) -> ModuleType:
    """Import onnxruntime with telemetry off, and its log off or, from the level `log`, on stderr.

    Outside of sessions the process has one log level: the most verbose one that any caller has asked for.

    The official wheels from 1.29 on send telemetry and create a device id on import, unless ORT_DISABLE_TELEMETRY=1 is
    set (https://github.com/microsoft/onnxruntime/pull/27379); if the user has set the variable, it is left as it is.
    Raises MissingExtraError with the install line if there is no onnxruntime, DeviceError for an unknown level.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if error.name == "onnxruntime":
            raise MissingExtraError(f"onnxruntime is not installed: {_install_line()}") from None
        message = f"onnxruntime cannot be imported ({brief(error)}); reinstall it: {_install_line()}"
        raise MissingExtraError(message) from None
    if not hasattr(onnxruntime, "InferenceSession"):  # Python imports any folder of that name as a namespace package
        raise MissingExtraError(f"onnxruntime is only an empty folder; reinstall it: {_install_line()}")
    _show_from(onnxruntime, severity(log))
    module: ModuleType = onnxruntime
    return module


def _install_line() -> str:
    return how_to_install() + (_WITH_CUDA if has_wheel() else "")


def onnxruntime_version() -> str:
    """The version of the installed onnxruntime. Raises MissingExtraError if there is none."""
    return str(import_onnxruntime().__version__)


def _show_from(onnxruntime: ModuleType, level: int) -> None:
    """Set the process's log level outside of sessions, unless a more verbose one has been set already.

    The level is global: a caller that asks for less, or for nothing, must not silence another one.
    """
    global _shown_from
    with _LOG_LOCK:
        if _shown_from is None or level < _shown_from:
            onnxruntime.set_default_logger_severity(level)
            _shown_from = level


def severity(log: str | None) -> int:
    """The number of a log level, one of LOG_LEVELS, case-insensitive; None is silent. Raises DeviceError."""
    if log is None:
        return _SILENT
    if log.casefold() not in LOG_LEVELS:
        raise DeviceError(f"unknown log level {log!r}; choose {', '.join(LOG_LEVELS)}")
    return LOG_LEVELS.index(log.casefold())


def short_name(provider: str) -> str:
    """The name of a provider without the common suffix "ExecutionProvider"."""
    return provider.removesuffix(_SUFFIX)


def find_provider(device: str, available: Sequence[str]) -> str:
    """The execution provider named `device` among those that onnxruntime is built with; CUDA's for `auto`.

    Raises DeviceError, listing the available ones, if there is none of that name.
    """
    wanted = {"auto": "cuda"}.get(device, device).casefold().removesuffix(_SUFFIX.casefold())
    known = {short_name(provider).casefold(): provider for provider in available}
    if wanted in known:
        return known[wanted]
    if wanted == "cuda":
        raise DeviceError(
            f"CUDA does not work here: the installed onnxruntime {onnxruntime_version()} is built without "
            'it; pip uninstall onnxruntime, then pip install "clf-edge[gpu]"'
        )
    raise DeviceError(f"unknown device {device!r}; the installed onnxruntime has auto, {', '.join(sorted(known))}")


def preload_cuda(onnxruntime: ModuleType) -> None:
    """Load CUDA and cuDNN from the packages nvidia-*, where onnxruntime, from 1.21 on, can do that.

    The system's loader does not look there (https://onnxruntime.ai/docs/install/#cuda-and-cudnn). What onnxruntime
    prints of libraries that it does not find is left out: whether CUDA works is seen when the session is opened.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is None:
        return
    with redirect_stdout(io.StringIO()), suppress(Exception):
        preload()


def library_fault(onnxruntime: ModuleType, provider: str) -> str | None:
    """The system's message why the shared library of a provider fails to load; None if it loads, or there is none.

    onnxruntime itself only logs it.
    """
    library = f"libonnxruntime_providers_{short_name(provider).lower()}.so"
    path = Path(onnxruntime.__file__ or "").parent / "capi" / library
    if not path.is_file():
        return None
    import ctypes

    try:
        ctypes.CDLL(str(path.with_name("libonnxruntime_providers_shared.so")), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(path))
    except OSError as error:
        return f"a library fails to load: {error}"
    return None
