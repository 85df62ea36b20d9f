"""Settings of a process that trains, to be made before torch is loaded.

benchmarks/training_step.py shows what they are worth on the machine at hand.
"""

import ctypes
import os
import platform
import time
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP_BYTES, _LARGEST_BYTES = 1 << 30, 32 << 20  # 32 MiB is the most that M_MMAP_THRESHOLD takes
_STAT = Path("/proc/stat")
_LOOK_SECONDS = 0.1
_IDLE = 0.75  # of all processor time, above which no other program is at work
_SPINS = "30000"  # some tenths of a millisecond: longer than the gap between two parallel regions of a step


def settle() -> None:
    """Choose how waiting threads wait, and let freed memory stay with the process.

    A thread of OpenMP that waits for the others spins for a long time by default: where another program runs too,
    training then loses nearly all its speed. So waiting threads sleep if another program is at work now, and else spin
    for some tenths of a millisecond, which is faster on an idle machine, and sleep then. And glibc gives a large block
    back to the system as soon as it is freed, so that each step would have all its pages cleared anew; a gibibyte is
    kept instead. The environment variables OMP_WAIT_POLICY, GOMP_SPINCOUNT and MALLOC_TRIM_THRESHOLD_ win.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        name, value = ("GOMP_SPINCOUNT", _SPINS) if machine_is_idle() else ("OMP_WAIT_POLICY", "PASSIVE")
        os.environ[name] = value
    if platform.libc_ver()[0] == "glibc" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)


def machine_is_idle() -> bool:
    """Whether the processors have nothing to do for a tenth of a second; False where the system does not tell."""
    try:
        before = _ticks()
        time.sleep(_LOOK_SECONDS)
        spent = [after - b for after, b in zip(_ticks(), before, strict=True)]
        idle = spent[3] + spent[4]  # idle, and waiting for a disk
    except (OSError, ValueError, IndexError):
        return False
    return idle >= _IDLE * max(1, sum(spent))


def _ticks() -> list[int]:
    """The processors' times since the start by kind, as proc(5) lists them: user, nice, system, idle, iowait, ..."""
    return [int(word) for word in _STAT.read_text("ascii").splitlines()[0].split()[1:9]]
