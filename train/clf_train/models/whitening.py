"""Whitening: a first convolution that is computed from the images, and not trained.

Half of the time of a step is spent on a first convolution, and what it learns is known beforehand: the principal
components of the images' patches. So its filters are these, each with its negative, since the ReLU after them passes
one sign only, scaled so that their outputs vary alike. After Jordan, 2024, "94% on CIFAR-10 in 3.29 Seconds on a
Single GPU", https://arxiv.org/abs/2404.00498, section 3.2.

Letters in shapes: B images in a batch, C channels, H height, W width, F filters, D = C·h·w values in a patch of h·w.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_RIDGE = 0.01  # of the mean variance of a patch's values, so that directions of noise are not amplified


@torch.no_grad()
def whiten(layer: nn.Conv2d, norm: nn.BatchNorm2d, sample: Tensor) -> None:
    """Set a convolution of all channels to the principal components of the patches of `sample`, [B, C, H, W].

    Components and their negatives take turns; filters beyond 2·D stay what they are. The batch norm of the outputs gets
    their statistics.
    """
    pairs = principal_patches(layer, sample)[: layer.out_channels // 2].repeat_interleave(2, 0)
    pairs[1::2] *= -1
    layer.weight[: len(pairs)] = pairs.view(-1, *layer.weight.shape[1:])
    if layer.bias is not None:
        layer.bias.zero_()
    outputs = layer(sample)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(outputs.mean((0, 2, 3)))
    norm.running_var.copy_(outputs.var((0, 2, 3)))


def principal_patches(layer: nn.Conv2d, sample: Tensor) -> Tensor:
    """The principal components of the patches that a convolution sees, the strongest first, float32 [D, D].

    Each is divided by the standard deviation of the patches along it.
    """
    patches = F.unfold(sample, layer.kernel_size, stride=layer.kernel_size).transpose(1, 2).flatten(0, 1)  # [·, D]
    variances, components = torch.linalg.eigh(torch.cov(patches.T.double()))
    ridge = _RIDGE * variances.mean().clamp_min(torch.finfo(torch.float32).tiny)
    whitened: Tensor = components * (variances.clamp_min(0) + ridge).rsqrt()
    return whitened.T.flip(0).to(sample.dtype)
