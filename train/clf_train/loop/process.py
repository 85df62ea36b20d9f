"""Settings of a process that trains, to be made before torch is loaded.

benchmarks/training_step.py shows what they are worth on the machine at hand.
"""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP_BYTES, _LARGEST_BYTES = 1 << 30, 32 << 20  # 32 MiB is the most that M_MMAP_THRESHOLD takes
_SPINS = "3000"  # some tens of microseconds


def configure_process() -> None:
    """Choose how waiting threads wait, and let freed memory stay with the process.

    A thread of OpenMP that waits for the others spins for a long time by default: where another program runs too,
    training then loses nearly all its speed. So waiting threads spin for some tens of microseconds and sleep then,
    which costs little on an idle machine. And glibc gives a large block back to the system as soon as it is freed, so
    that each step would have all its pages cleared anew; a gibibyte is kept instead. The environment variables
    OMP_WAIT_POLICY, GOMP_SPINCOUNT and MALLOC_TRIM_THRESHOLD_ win.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    if platform.libc_ver()[0] == "glibc" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
