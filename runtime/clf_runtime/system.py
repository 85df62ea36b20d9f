"""What Linux has and Windows or macOS lacks, each with what is done without it. Nothing else asks for the system.

Without `sched_getaffinity` (both): all processors count. Without `sysconf` (Windows): memory is unknown. Without /proc
(both) and `resource` (Windows): peak memory is ru_maxrss, or unknown. Without SIGHUP, SIGUSR1 (Windows): nobody can
send it. A file that another program holds open (Windows) can neither be replaced nor removed: see below.
"""

import os
import sys
import time
from pathlib import Path
from typing import IO

UNKNOWN_MEMORY = 1 << 40  # 1 TiB
_STATUS = Path("/proc/self/status")
_PAUSES = (0.05, 0.1, 0.2, 0.4)  # s; a virus scanner holds a new file that long


def processors() -> int:
    """The number of processors that this process may be scheduled on, 1 or more."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def physical_memory() -> int:
    """The machine's memory in bytes, at most what a process can address; UNKNOWN_MEMORY where it is not reported."""
    try:
        return min(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), sys.maxsize)
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_MEMORY


def peak_memory() -> int | None:
    """The peak resident memory of this process in bytes; None where the system does not report it.

    On Linux VmHWM of /proc, since getrusage there includes the parent of a fresh process; elsewhere ru_maxrss, which is
    bytes on macOS and KiB on other systems.
    """
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def signal_named(name: str) -> int | None:
    """The number of the signal of that name, such as SIGUSR1; None on a system without it."""
    import signal  # not at the top: a cold prediction needs none

    number: int | None = getattr(signal, name, None)
    return number


def replace_file(written: Path, file: Path) -> None:
    """Rename `written` to `file`, replacing it. On Windows, wait up to 0.75 s for a program that holds `file` open.

    Raises OSError as the system does.
    """
    for pause in _PAUSES:
        try:
            written.replace(file)
            return
        except PermissionError:
            if sys.platform != "win32":
                raise
            time.sleep(pause)
    written.replace(file)


def lock_file(stream: IO[bytes]) -> bool:
    """Lock an open file until this process closes it or ends; False if another process has it.

    On Windows nothing is locked: two processes that write the same files do the work twice.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_file(file: Path) -> None:
    """Remove a file if it is there. One that is held open stays on Windows, which removes none. Raises OSError."""
    try:
        file.unlink(missing_ok=True)
    except PermissionError:
        if sys.platform != "win32":
            raise
