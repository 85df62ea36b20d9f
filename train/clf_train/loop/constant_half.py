"""The half of a net that does not change in a training is computed once for all images: see architecture.Halves."""

import torch
from torch import Tensor

from clf_train.data.normalisation import Normalisation
from clf_train.models.architecture import Halves
from clf_train.models.recipe import Recipe

_AT_ONCE = 128  # images, whose intermediate results stay in the cache of the processor
_MOST_BYTES = 1 << 30


@torch.no_grad()
def prepare(
    halves: Halves, images: Tensor, recipe: Recipe, normalise: Normalisation, device: torch.device
) -> Tensor | None:
    """What the constant half of the net makes of the images [N, C, H, W]: float32 [N, ...], on the CPU.

    None if the recipe augments the images, or it would take more than a gibibyte.
    """
    if recipe.flip or recipe.shift:
        return None
    prepared: Tensor | None = None
    for start in range(0, len(images), _AT_ONCE):
        x = normalise(images[start : start + _AT_ONCE].to(device))
        part = halves.constant(x.contiguous(memory_format=memory_format(recipe)))
        if prepared is None:
            if part.nbytes // len(part) * len(images) > _MOST_BYTES:
                return None
            prepared = torch.empty(len(images), *part.shape[1:])
        prepared[start : start + len(part)] = part
    return prepared


def memory_format(recipe: Recipe) -> torch.memory_format:
    """How the recipe lays out the images of a batch, [B, C, H, W], in memory."""
    return torch.channels_last if recipe.channels_last else torch.contiguous_format
