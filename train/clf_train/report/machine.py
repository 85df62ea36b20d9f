"""The machine of a training, for the record: processor, cores, memory, system. No path, host name or user."""

import platform
import re
from pathlib import Path

from clf_runtime.system import UNKNOWN_MEMORY, physical_memory, processors

_CPUINFO = Path("/proc/cpuinfo")


def describe_machine() -> dict[str, str]:
    """Name the processor, the cores that this process may use, the memory, and the system with its kernel.

    What the system does not report is left out. Raises nothing.
    """
    facts = {
        "processor": _processor(),
        "cores": str(processors()),
        "memory": _memory(),
        "system": _system(),
    }
    return {name: fact for name, fact in facts.items() if fact}


def processor_name(cpuinfo: str) -> str:
    """The processor's name in the text of Linux's /proc/cpuinfo, or "" if it has none.

    On x86 it is `model name`; many ARM boards only have `Model` or `Hardware`.
    """
    for key in ("model name", "Model", "Hardware"):
        found = re.search(rf"^{key}[ \t]*:(.*)$", cpuinfo, re.MULTILINE)
        if found and found[1].strip():
            return " ".join(found[1].split())
    return ""


def _processor() -> str:
    try:
        named = processor_name(_CPUINFO.read_text("utf-8", errors="replace"))
    except OSError:
        named = ""
    return named or platform.processor() or platform.machine()


def _memory() -> str:
    size = physical_memory()
    return "" if size >= UNKNOWN_MEMORY else f"{size / (1 << 30):.1f} GiB"


def _system() -> str:
    try:
        distribution = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        distribution = ""
    kernel = " ".join(part for part in (platform.system(), platform.release(), platform.machine()) if part)
    return ", ".join(part for part in (distribution, kernel) if part)
