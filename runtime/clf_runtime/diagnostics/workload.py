"""What a measurement needs in a fresh process, kept light: synthetic images, and peak memory."""

import math
import sys
from pathlib import Path

import numpy as np

from clf_runtime.model.card import ModelCard


def made_images(card: ModelCard, count: int) -> np.ndarray:
    """Images of pseudorandom values in the card's range, [count, ...] in its dtype and layout; deterministic.

    Without numpy.random, whose import takes longer than a model's first run.
    """
    shape = card.input_shape
    low, high = card.value_range
    values = np.arange(math.prod(shape), dtype=np.int64) * 40_503 % 65_537 / 65_536  # Knuth's multiplier
    one = (low + values * (high - low)).astype(card.dtype).reshape(shape)
    return np.stack([np.roll(one, i, axis=-1) for i in range(count)])


def peak_memory() -> int | None:
    """The peak resident memory of this process in bytes; None where the system does not report it.

    On Linux VmHWM of /proc, since getrusage there includes the parent of a fresh process; elsewhere ru_maxrss, which is
    bytes on macOS and KiB on other systems.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
