"""Settings of a process that trains, to be made before torch is loaded.

Both were measured: benchmarks/training_step.py shows what they are worth on the machine at hand.
"""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP_BYTES, _LARGEST_BYTES = 1 << 30, 32 << 20  # 32 MiB is the most that M_MMAP_THRESHOLD takes


def settle() -> None:
    """Let waiting threads sleep, and freed memory stay with the process.

    OpenMP's threads that wait busily lose nearly all their speed where another program runs too. And glibc gives a
    large block back to the system as soon as it is freed, so that each training step would have all its pages cleared
    anew; a gibibyte is kept instead. The environment variables OMP_WAIT_POLICY and MALLOC_TRIM_THRESHOLD_ win.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if platform.libc_ver()[0] == "glibc" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
