"""Images as input of a net: the normalisation of a training, and arrays as tensors.

Letters in shapes: B images in a batch, C channels, H height, W width.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """The mean that is subtracted and the standard deviation to divide by, per channel, in the units of the images."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Uint8 or float32 [B, C, H, W] → float32 [B, C, H, W] on the same device, a copy that a net may change."""
        if not any(self.mean) and all(s == 1 for s in self.std):
            return images.float() if images.dtype != torch.float32 else images.clone()
        mean, std = (torch.tensor(v, device=images.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        centred = images - mean if images.is_floating_point() else images.float().sub_(mean)
        return centred.div_(std)


def as_tensor(array: np.ndarray) -> Tensor:
    """Share an array's memory with a tensor, even if it is read-only; nothing here writes to images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "The given NumPy array is not writable"
        return torch.from_numpy(array)
