"""Low frequencies: a fully connected first layer learns faster, and costs a fraction, on the coarse of an image alone.

A photograph's detail is faint (amplitudes fall as one over the spatial frequency: Field, 1987, "Relations between the
statistics of natural images and the response properties of cortical cells", JOSA A 4(12)), and there is much of it: of
the 32x32 frequencies of a channel the 8x8 lowest are a sixteenth. So the layer is trained on the lowest k·k cosine
frequencies of each channel, each weighted by how high it is, which evens out their amplitudes. The transform is linear,
so that the layer is one on pixels again when training is over, with the same answers.

Letters in shapes: B images in a batch, C channels, H height, W width, F outputs, k frequencies an axis.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from clf_train.errors import RecipeError


def narrow(net: nn.Module, image_shape: tuple[int, int, int], k: int) -> Callable[[], None]:
    """Let a net's first layer, linear on all pixels, take the lowest k·k frequencies of each channel in their place.

    Its weight [F, C·H·W] becomes [F, C·k·k] until what is returned is called, which makes it one on pixels again.
    Raises RecipeError if the first layer is no linear one on all pixels.
    """
    channels, height, width = image_shape
    first = next((module for module in net.modules() if next(module.parameters(recurse=False), None) is not None), None)
    if not isinstance(first, nn.Linear) or first.in_features != channels * height * width:
        raise RecipeError("low frequencies must be 0 for this model: its first layer is no linear one on all pixels")
    layer = first
    weight = layer.weight
    across, down = (cosines(n, min(k, n)).to(weight) for n in (width, height))
    low, high = torch.arange(down.shape[1]).to(weight), torch.arange(across.shape[1]).to(weight)
    weights = (1 + torch.hypot(low[:, None], high)) / (1 + k)  # [k, k], the diagonal's corner above one

    def to_frequencies(x: Tensor) -> Tensor:
        return (down.T @ (x.view(-1, channels, height, width) @ across)).mul(weights).flatten(1)

    def pre_hook(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (to_frequencies(inputs[0]),)

    def widen() -> None:
        handle.remove()
        narrowed = layer.weight.detach().view(-1, channels, *weights.shape) * weights
        weight.data = (down @ (narrowed @ across.T)).flatten(1)
        layer.weight = weight

    with torch.no_grad():  # orthonormal, so that the initial weights keep their size
        layer.weight = nn.Parameter((down.T @ (weight.view(-1, channels, height, width) @ across)).flatten(1))
    handle = layer.register_forward_pre_hook(pre_hook)
    return widen


def cosines(n: int, k: int) -> Tensor:
    """The k lowest of the n cosine waves of the DCT-II, orthonormal, float32 [n, k].

    After Ahmed, Natarajan and Rao, 1974, "Discrete cosine transform", IEEE Transactions on Computers C-23(1).
    """
    waves = torch.cos(math.pi / n * (torch.arange(n)[:, None] + 0.5) * torch.arange(k)) * math.sqrt(2 / n)
    waves[:, 0] *= math.sqrt(0.5)
    return waves
