"""Why an import fails or a process crashes, in a sentence with what to do."""

import re

from clf_runtime.diagnostics.subprocesses import Ended, signal_name
from clf_runtime.engine.system_package import how_to_install

_ILLEGAL_INSTRUCTION = 0xC000001D  # exit codes of Windows
_ACCESS_VIOLATION = 0xC0000005
_MISSING_DLL = 0xC0000135

# A pattern for the last line of a failed import, what it means, and what to do; {0} is the first group, {package} the
# imported package.
_MESSAGES = (
    (
        r"No module named '(?!numpy|onnxruntime)([\w.]+)'",
        "it needs {0}, which is not installed",
        "pip install --force-reinstall {package}",
    ),
    (
        r"version `(GLIBC\w*_[\d.]+)' not found",
        "its wheel is built for a newer system, with {0}",
        "update the system, or use an older release of {package}",
    ),
    (
        r"(lib(?:cu|nv)[\w.+-]*): cannot open shared object",
        "CUDA's library {0} is missing",
        'install CUDA and cuDNN, or: pip uninstall -y onnxruntime-gpu, then pip install "clf-edge[cpu]"',
    ),
    (
        r"([\w.+-]+): cannot open shared object",
        "the system library {0} is missing",
        "install the system package that provides it",
    ),
    (
        r"cannot enable executable stack",
        "its library requires an executable stack, which the system forbids",
        "pip install --upgrade {package}",
    ),
    (
        r"DLL load failed",
        "a DLL is missing",
        "install the Microsoft Visual C++ Redistributable, then try again",
    ),
    (
        r"multiarray failed to import|_ARRAY_API|compiled using NumPy 1",
        "it is built for numpy 1, but numpy 2 is installed",
        'pip install --upgrade onnxruntime, or pip install "numpy<2"',
    ),
    (
        r"wrong ELF class|incompatible architecture|invalid ELF header",
        "its wheel is for another processor architecture",
        "pip install --force-reinstall {package}, with the pip of this Python",
    ),
)


def explain_end(ended: Ended, doing: str, package: str) -> tuple[str, str]:
    """Why a child process that was `doing` something failed: a sentence, and what to do about it."""
    code = ended.code
    if code is None:
        return f"{doing} timed out", "try again when the machine is idle; look for a driver that hangs"
    if code < 0 or code >= _ACCESS_VIOLATION:
        return _killed(code, doing, package)
    line = last_line(ended.err) or f"exit code {code}"
    if re.search(rf"No module named '{package}'", line):
        return f"{package} is not installed", how_to_install()
    for pattern, means, advice in _MESSAGES:
        if found := re.search(pattern, line):
            return means.format(*found.groups()), advice.format(package=package)
    return f"{doing} fails: {line}", f"pip install --force-reinstall {package}"


def _killed(code: int, doing: str, package: str) -> tuple[str, str]:
    name = signal_name(code) if code < 0 else f"exit code {code:#x}"
    if name == "SIGILL" or code == _ILLEGAL_INSTRUCTION:
        return (
            f"{doing} stops at an illegal instruction ({name}): {package} uses one that this processor lacks",
            f"use a build of {package} for this processor: an older release, the system's package, or from source",
        )
    if name == "SIGKILL":
        return f"{doing} was killed ({name}), probably out of memory", "free memory, or add swap"
    if code == _MISSING_DLL:
        return f"{doing} lacks a DLL ({name})", "install the Microsoft Visual C++ Redistributable, then try again"
    return (
        f"{doing} crashes ({name})",
        f"pip install --force-reinstall {package}; if that does not help, use another release of it",
    )


def last_line(text: str, limit: int = 300) -> str:
    """The last non-empty line of a text, at most `limit` characters of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:limit] if lines else ""
