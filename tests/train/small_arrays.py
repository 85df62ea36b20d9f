"""The small images and labels of many tests, as arrays: of three classes in turn, and unlike in height and width."""

import numpy as np

COUNT, TEST_COUNT, CLASSES = 12, 6, 3
HEIGHT, WIDTH = 8, 6  # unlike each other, so that swapped axes show
SHAPE = (3, HEIGHT, WIDTH)


def make_images(count: int = COUNT, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """uint8 [count, *shape]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def make_labels(count: int = COUNT) -> np.ndarray:
    """int64 [count]."""
    return np.arange(count) % CLASSES


def make_floats(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """float32 [count, *SHAPE] in 0..1."""
    return make_images(count, seed).astype(np.float32) / 255
