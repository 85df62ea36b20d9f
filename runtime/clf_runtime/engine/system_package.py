"""The onnxruntime of the system's packages: Debian's `python3-onnxruntime`, also for processors without a wheel."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_PACKAGES = Path("/usr/lib/python3/dist-packages")  # of Debian and its kin; pip never installs there
_WHEELS = {"x86_64", "amd64", "aarch64", "arm64"}  # of 64-bit Python; https://pypi.org/project/onnxruntime/#files
_PIP = 'pip install "clf-edge[cpu]"'
_SHARED = "/usr/bin/python3 -m venv --system-site-packages FOLDER, and clf-edge in it"
_NOISE = b"Schema error: Trying to register schema"
_LOCK = threading.Lock()
_opened = False


def has_wheel() -> bool:
    """Whether onnxruntime has wheels for this Python: 64-bit, on x86-64 or ARM."""
    import platform

    return sys.maxsize > 1 << 32 and platform.machine().lower() in _WHEELS


def how_to_install() -> str:
    """What to do here, in one line, to get onnxruntime: `pip`, or the system's package where there is no wheel."""
    if has_wheel():
        return _PIP
    if (_PACKAGES / "onnxruntime").is_dir():
        return f"this system's python3-onnxruntime is only seen by its own Python: {_SHARED}"
    import platform

    bits = "" if sys.maxsize > 1 << 32 else " (32-bit)"
    there = f"there is no wheel for {platform.machine()}{bits}, but Debian 13 or later has it"
    return f"{there}: sudo apt install python3-onnxruntime, then {_SHARED}"


@contextmanager
def without_schema_errors(onnxruntime: ModuleType) -> Iterator[None]:
    """Open a session without the 567 lines that Debian's build prints on stderr for the first one of a process.

    It registers ONNX's operators twice ("Schema error: Trying to register schema ..."), which changes nothing.
    Everything else that is written meanwhile, by any thread, follows when the block ends. Other builds are left alone.
    """
    global _opened
    if _opened or not _is_packaged(onnxruntime) or not hasattr(os, "memfd_create"):
        yield
        return
    with _LOCK:
        try:
            usual, kept = os.dup(2), os.memfd_create("stderr")
        except OSError:  # stderr is closed, or a sandbox forbids it
            yield
            return
        with open(kept, "rb", closefd=True) as written:
            os.dup2(kept, 2)
            try:
                yield
            finally:
                os.dup2(usual, 2)
                written.seek(0)
                _forward(written.read(), usual)
                os.close(usual)
                _opened = True


def _is_packaged(onnxruntime: ModuleType) -> bool:
    return Path(onnxruntime.__file__ or "").parts[-5:-2] == _PACKAGES.parts[-3:]


def _forward(text: bytes, descriptor: int) -> None:
    """Write what is no noise; each line of it is followed by an empty one."""
    after_noise = False
    for line in text.splitlines(keepends=True):
        is_noise = line.startswith(_NOISE)
        if not is_noise and not (after_noise and not line.strip()):
            os.write(descriptor, line)
        after_noise = is_noise
