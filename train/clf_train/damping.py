"""Damping: a first layer that is fully connected learns faster when its gradient is shortened along a few directions.

Most of what differs between photographs is brightness and a few broad gradients of it: the first principal axes carry
nearly all the variance, so the gradient of a layer on pixels points along them and forces a small learning rate on all
others. Multiplying the gradient by the inverse covariance of the inputs would be natural gradient descent (Amari, 1998;
the input factor of K-FAC, Martens and Grosse, 2015, https://arxiv.org/abs/1503.05671). Here only the first k axes are
scaled down to the variance of the k-th, which costs two thin products a step.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from clf_train.errors import RecipeError

SAMPLE = 4000  # images from which the axes are found
_MORE = 10  # axes carried along beyond those wanted, and
_ROUNDS = 2  # rounds of iteration: enough for the leading axes (Halko et al., 2011, https://arxiv.org/abs/0909.4061)


def damp(net: nn.Module, images: Tensor, axes: int) -> Callable[[], None]:
    """Shorten the gradient of a net's first layer along the first principal axes of normalised `images` [N, C, H, W].

    Along axis i of variance v_i it is multiplied by v_k / v_i, k being the last of the axes. Returns what undoes it.
    Raises RecipeError if the first layer is no linear one on all pixels.
    """
    weight = next(net.parameters())
    pixels = images.flatten(1)
    if weight.ndim != 2 or weight.shape[1] != pixels.shape[1]:
        raise RecipeError("damped axes must be 0 for this model: its first layer is no linear one on all pixels")
    variances, directions = principal_axes(pixels, min(axes, *pixels.shape))
    shorter = 1 - variances[-1] / variances.clamp_min(torch.finfo(torch.float32).tiny)  # [k]

    def hook(gradient: Tensor) -> Tensor:
        return gradient - (gradient @ directions * shorter) @ directions.T

    handle = weight.register_hook(hook)  # type: ignore[no-untyped-call]
    return lambda: handle.remove()


def principal_axes(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first axes of x [N, D] about its origin: mean squares along them, falling, [k], and directions [D, k].

    By randomised subspace iteration, from the same random numbers every time.
    """
    generator = torch.Generator().manual_seed(0)
    width = min(count + _MORE, *x.shape)
    basis = torch.randn(x.shape[1], width, generator=generator).to(x.device)
    for _ in range(_ROUNDS + 1):
        basis = torch.linalg.qr(x.T @ (x @ basis)).Q
    _, singular, rotation = torch.linalg.svd(x @ basis, full_matrices=False)
    return (singular**2 / len(x))[:count], (basis @ rotation.T)[:, :count]
