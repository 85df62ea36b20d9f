"""conv: the convolutional net as it came, for any image size and any number of classes.

Its tricks: in training, batch norm, maximum pooling and ReLU are one step, which processors are faster at; and the
first layer can be computed from the images (see whitening.py) in place of being trained.

Letters in shapes: B images in a batch, C channels, H height, W width, h and w their halves, rounded down, K classes.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from clf_train.errors import DataError
from clf_train.models.architecture import Architecture, Halves, Hooks
from clf_train.models.freezing import freeze_first_layer
from clf_train.models.recipe import BEST, FAST, SEED, Recipe
from clf_train.models.whitening import whiten

# Each with the mean test accuracy on the JPEG-coded CIFAR-10; the README has the commands.
_RECIPES = {
    "seed": replace(SEED, epochs=10, batch_size=25, learning_rate=0.01),  # 58.0 %, one seed
    "fast": replace(  # 63.3 %, two seeds
        FAST, epochs=3, batch_size=256, learning_rate=0.1, bias_share=1, whiten=True, channels_last=True
    ),
    "best": replace(  # 73.8 %, three seeds
        BEST, epochs=100, learning_rate=0.06, weight_decay=0.025, channels_last=True
    ),
}


class ConvNN(nn.Module):
    """Convolutional: 4x4 to 16 channels, 4x4 to 8 channels, each with batch norm, ReLU and pooling; 100 hidden units.

    Takes float32 [B, C, H, W], gives logits float32 [B, K]. 23,998 parameters for 3x32x32 and ten classes.
    Raises DataError if H or W is below 13, which leaves nothing after the second pooling.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        h, w = (((n - 3) // 2 - 3) // 2 for n in (height, width))
        if h < 1 or w < 1:
            raise DataError(f"images of {height}x{width} are too small for the model conv: it needs 13x13 or more")
        self.conv1 = nn.Conv2d(channels, 16, 4)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 8, 4)
        self.norm2 = nn.BatchNorm2d(8)
        self.fc1 = nn.Linear(8 * h * w, 100)
        self.fc2 = nn.Linear(100, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, K] logits."""
        return self.after_first(self.first(x))

    def first(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] → [B, 16, h, w], what the first convolution makes of them."""
        x = self.conv1(x)
        if self.training:
            return norm_pool_relu(x, self.norm1)
        # ReLU after the maximum, not before: the same values from a quarter of the work.
        return F.relu(F.max_pool2d(self.norm1(x), 2), inplace=True)

    def after_first(self, x: Tensor) -> Tensor:
        """[B, 16, h, w] → [B, K] logits."""
        x = F.avg_pool2d(F.relu(self.norm2(self.conv2(x)), inplace=True), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        out: Tensor = self.fc2(x)
        return out


def norm_pool_relu(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """The ReLU of the maximum over 2x2 of a batch norm, float32 [B, C, H, W] → [B, C, h, w], in training.

    Where every scale is above zero, batch norm keeps the order of a channel's values, so that the maximum can be taken
    first: only its quarter of the values is then normalised. Values and gradients are those of the three layers one
    after the other (for the gradients of batch norm see Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167), but
    for rounding. It is one step for images in NHWC order (torch.channels_last), else the layers themselves, to the last
    bit. A batch norm in evaluation mode is one that is frozen while the rest of its net trains.
    """
    ours = type(norm) is nn.BatchNorm2d and x.device.type == "cpu" and x.dtype == torch.float32
    ours = ours and x.is_contiguous(memory_format=torch.channels_last)
    if not ours or not bool((norm.weight > 0).all()):
        return F.relu(F.max_pool2d(norm(x), 2), inplace=True)
    if not norm.training:
        return F.relu(norm(F.max_pool2d(x, 2) if x.requires_grad else _maximum(x)), inplace=True)
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


def _maximum(x: Tensor) -> Tensor:
    """The maximum over 2x2, [B, C, h, w]: a quarter of the time of a pooling that keeps the places for a gradient."""
    height, width = (n // 2 * 2 for n in x.shape[2:])
    rows = torch.maximum(x[:, :, 0:height:2], x[:, :, 1:height:2])
    return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


def whitened(net: nn.Module, sample: Tensor, recipe: Recipe) -> Hooks:
    """Compute the first layer from the images, if the recipe says `whiten`, and leave it as it is: see whitening.py."""
    if not recipe.whiten:
        return Hooks()
    assert isinstance(net, ConvNN)
    whiten(net.conv1, net.norm1, sample)
    net.norm1.eval()
    parameters = [*net.conv1.parameters(), *net.norm1.parameters()]

    def constant(x: Tensor) -> Tensor:  # in NHWC order, which batches are then taken from and trained in
        return net.first(x).permute(0, 2, 3, 1).contiguous()

    def trained(x: Tensor) -> Tensor:
        return net.after_first(x.permute(0, 3, 1, 2))

    def finish() -> None:
        for p in parameters:
            p.requires_grad_(True)

    return Hooks(lambda done: parameters, finish, Halves(constant, trained))


def _wide(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


ARCHITECTURE = Architecture(ConvNN, _RECIPES, {"whiten": whitened, "freeze_after": freeze_first_layer})
