"""What one pass over the images tells: their fingerprint and hashes, range, mean and standard deviation."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from clf_train.data.dataset import Split
from clf_train.data.doubts import hash_images
from clf_train.errors import DataError

_CHUNK_BYTES = 16 << 20
_WIDE_BYTES = 1 << 20  # of a chunk as float64, small enough for the cache


@dataclass(frozen=True)
class Statistics:
    """The minimum and maximum of all images, and the mean and standard deviation of each channel, in their own units.

    `hashes`, uint64 [N], are one per image.
    """

    low: float
    high: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    hashes: np.ndarray


def scan(split: Split, where: str, digest: "hashlib._Hash") -> Statistics:
    """Read all images once, in chunks, and feed them and their labels to `digest`.

    Raises DataError, naming `where` and the image, for NaN or infinity.
    """
    images = split.images
    hashes = np.empty(len(split), np.uint64)
    n, channels, height, width = images.shape
    digest.update(f"{images.dtype} {images.shape}\n".encode())
    low, high = np.inf, -np.inf
    total, squares = np.zeros(channels), np.zeros(channels)
    rows = max(1, _CHUNK_BYTES // (channels * height * width * images.dtype.itemsize))
    few = max(1, _WIDE_BYTES // (channels * height * width * 8))
    most = max(1, _WIDE_BYTES // (channels * 8))  # pixels of an image; all of them if `few` fit
    for first in range(0, n, rows):
        chunk: np.ndarray[Any, Any] = np.ascontiguousarray(images[first : first + rows])
        digest.update(chunk.data)
        hashes[first : first + len(chunk)] = hash_images(chunk)
        lowest, highest = float(chunk.min()), float(chunk.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            bad = ~np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
            raise DataError(f"{where}: image {first + int(np.argmax(bad))} contains NaN or infinity")
        low, high = min(low, lowest), max(high, highest)
        planes = chunk.reshape(len(chunk), channels, -1)
        for i in range(0, len(planes), few):
            for j in range(0, height * width, most):
                wide = planes[i : i + few, :, j : j + most].astype(np.float64)
                total += wide.sum(axis=(0, 2))
                squares += np.einsum("ncp,ncp->c", wide, wide)
    digest.update(split.labels.astype("<i8", copy=False).data)
    count = n * height * width
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return Statistics(low, high, tuple(mean.tolist()), tuple(std.tolist()), hashes)


def find_range(low: float, high: float) -> tuple[float, float]:
    """The range of float images: the first of 0..1, 0..255 and -1..1 that contains them all, else what they span."""
    for usual in ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)):
        if usual[0] <= low and high <= usual[1]:
            return usual
    if low == high:
        return low, low + 1
    return low, high
