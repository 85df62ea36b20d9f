"""Batch norm, 2x2 maximum pooling and ReLU as one step of training, for processors.

Where every scale is above zero, batch norm keeps the order of a channel's values, so that the maximum can be taken
first: only its quarter of the values is then normalised. Values and gradients are those of the three layers one after
the other (for the gradients of batch norm see Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167), but for
rounding.

Letters in shapes: B images in a batch, C channels, H height, W width, h and w their halves, rounded down.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def norm_pool_relu(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """The ReLU of the maximum over 2x2 of a batch norm, float32 [B, C, H, W] → [B, C, h, w], in training.

    It is one step for images in NHWC order (torch.channels_last), else the layers themselves, to the last bit. A batch
    norm in evaluation mode is one that is frozen while the rest of its net trains.
    """
    ours = type(norm) is nn.BatchNorm2d and x.device.type == "cpu" and x.dtype == torch.float32
    ours = ours and x.is_contiguous(memory_format=torch.channels_last)
    if not ours or not bool((norm.weight > 0).all()):
        return F.relu(F.max_pool2d(norm(x), 2), inplace=True)
    if not norm.training:
        return F.relu(norm(F.max_pool2d(x, 2)), inplace=True)
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    mean, variance = torch.batch_norm_update_stats(x.detach(), norm.running_mean, norm.running_var, norm.momentum)
    inverse = variance.add_(norm.eps).rsqrt_()
    pooled: Tensor = _Pooled.apply(x, norm.weight, norm.bias, mean, inverse)  # type: ignore[no-untyped-call]
    return pooled


class _Pooled(torch.autograd.Function):
    """What is left when the batch's mean and the inverse of its standard deviation, [C] each, are there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
        highest, place = torch.ops.aten.max_pool2d_with_indices(x, 2)  # [B, C, h, w]
        scale = weight * inverse
        out = torch.addcmul(_wide(bias - mean * scale), highest, _wide(scale)).relu_()
        ctx.save_for_backward(x, weight, mean, inverse, highest, place, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, highest, place, out = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        to_bias = gradient.sum((0, 2, 3))
        to_weight = ((gradient * highest).sum((0, 2, 3)) - mean * to_bias) * inverse
        if not ctx.needs_input_grad[0]:
            return None, to_weight, to_bias, None, None
        scale = weight * inverse
        count = x.numel() // len(scale)
        # Through the maximum one value of four, through the batch's mean and deviation every one.
        to_x = torch.ops.aten.max_pool2d_with_indices_backward(
            gradient * _wide(scale), x, [2, 2], [2, 2], [0, 0], [1, 1], False, place
        )
        slope = -scale * inverse * to_weight / count
        to_x += torch.addcmul(_wide(-scale * to_bias / count - slope * mean), x, _wide(slope))
        return to_x, to_weight, to_bias, None, None


def _wide(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)
