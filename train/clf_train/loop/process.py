"""Settings of a training process, to be made before torch is loaded.

benchmarks/training_step.py measures their effect.
"""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP_BYTES, _LARGEST_BYTES = 1 << 30, 32 << 20  # 32 MiB is the maximum of M_MMAP_THRESHOLD
_SPINS = "3000"  # some tens of microseconds


def configure_process() -> None:
    """Limit the spinning of OpenMP threads, and keep freed memory in the process.

    By default an OpenMP thread that waits for the others spins for a long time: if another program is running too,
    training then loses nearly all its speed. So threads spin for some tens of microseconds and then sleep, which costs
    little on an idle machine. And glibc returns a large block to the system as soon as it is freed, so that each step
    would fault in all its pages again; up to a gibibyte is kept instead. The environment variables OMP_WAIT_POLICY,
    GOMP_SPINCOUNT and MALLOC_TRIM_THRESHOLD_ take precedence.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    if platform.libc_ver()[0] == "glibc" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
