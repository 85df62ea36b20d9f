"""The same small images and labels as tensors."""

import small_arrays
import torch
from small_arrays import COUNT
from torch import Tensor


def make_pixels(count: int = COUNT, seed: int = 0) -> Tensor:
    """uint8 [count, 3, HEIGHT, WIDTH]."""
    return torch.from_numpy(small_arrays.make_images(count, seed))


def make_labels(count: int = COUNT) -> Tensor:
    """int64 [count]."""
    return torch.from_numpy(small_arrays.make_labels(count))


def scaled(pixels: Tensor) -> Tensor:
    """Float32 of the same shape, in 0..1."""
    return pixels.float() / 255
