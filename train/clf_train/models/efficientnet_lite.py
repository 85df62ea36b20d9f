"""EfficientNet-Lite with weights from ImageNet, for photographs of any size and any classes.

Letters in shapes: B images in a batch, C channels, H height, W width, F features, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clf_train.errors import DataError
from clf_train.models.architecture import Architecture
from clf_train.models.pretrained import Pretrained
from clf_train.models.recipe import Recipe

# Both recipes fit the head alone, since no steps beyond it that were tried brought anything (docs/backbone.md). The
# fields of steps are for whoever asks for --epochs.
_FAST = Recipe(
    "fast",
    epochs=0,
    batch_size=16,
    learning_rate=1e-4,
    optimizer="adamw",
    schedule="onecycle",
    weight_decay=0.01,
    validation_share=0.05,
    channels_last=True,
    fit_head=True,
)
_RECIPES = {"fast": _FAST, "best": replace(_FAST, name="best")}
_LAST, _MIDDLE = 1280, 192  # features of the last layer, and of the one that the last block is given
_MIDDLE_SCALE = 0.4  # brings the spread of these to that of the others
_LEAST_SIDE = 32  # which the last of five halvings leaves one pixel of
_SMALL = 1e-6  # of a feature, whose mean over an image is one: a root has no gradient at zero
# What the blocks of each stage are: expansion, channels, kernel, the first one's stride.
_STAGES = ((1, 16, 3, 1), (6, 24, 3, 2), (6, 40, 5, 2), (6, 80, 3, 2), (6, 112, 5, 1), (6, 192, 5, 2), (6, 320, 3, 1))


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 or 1 below a head for K classes, which is linear on the features.

    Takes float32 [B, C, H, W], gives logits float32 [B, K]. `blocks` are how many each of the seven stages has.
    It is EfficientNet-B0 or B1 (Tan and Le, 2019, https://arxiv.org/abs/1905.11946) without squeeze-and-excitation, and
    with ReLU6: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. Images are padded as
    TensorFlow does it (SAME), for which the weights were trained.
    Raises DataError if H or W is below 32.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, *, blocks: Sequence[int]) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < _LEAST_SIDE:
            raise DataError(
                f"images of {height}x{width} are too small for this pretrained model: it needs "
                f"{_LEAST_SIDE}x{_LEAST_SIDE} or more"
            )
        self.stem = _Conv(channels, 32, 3, 2)
        layers, before = [], 32
        for (expansion, after, kernel, stride), count in zip(_STAGES, blocks, strict=True):
            for i in range(count):
                layers.append(_Block(before, after, expansion, kernel, 1 if i else stride))
                before = after
        self.blocks = nn.Sequential(*layers)
        self.last = _Conv(before, _LAST)
        self.head = nn.Linear(_LAST + _MIDDLE, classes)

    def features(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, F]: how much of each of the last features an image holds, as the root of its share.

        Euclidean distances of such roots are Hellinger's of the shares, which a few common features do not rule
        (Arandjelovic and Zisserman, 2012, "Three things everyone should know to improve object retrieval", CVPR).
        Beside them stand the means of what the last block is given, which knows less of ImageNet's own classes.
        """
        x = x.contiguous(memory_format=torch.channels_last)  # which processors are faster at
        x = self.blocks[:-1](self.stem(x))
        middle = x.mean((2, 3))
        x = self.last(self.blocks[-1](x)).mean((2, 3))
        last = torch.sqrt(x / (x.mean(1, keepdim=True) + _SMALL) + _SMALL)
        return torch.cat([last, _MIDDLE_SCALE * middle], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, K] logits."""
        out: Tensor = self.head(self.features(x))
        return out


class _Conv(nn.Module):
    """A convolution, batch norm, and ReLU6 unless it is `linear`."""

    def __init__(
        self, before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] → [B, after, H/stride, W/stride], rounded up."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if kernel > 1:
            x = F.pad(x, (*_same(x.shape[3], kernel, stride), *_same(x.shape[2], kernel, stride)))
        x = self.norm(self.conv(x))
        return x if self.linear else F.relu6(x, inplace=True)


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """What TensorFlow's SAME pads a side of this size by, before and after it."""
    padding = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return padding // 2, padding - padding // 2


class _Block(nn.Module):
    """An inverted residual: expanded by a 1x1 convolution, convolved channel by channel, and brought together again."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = expansion * before
        self.layers = nn.Sequential(
            *([_Conv(before, wide)] if expansion > 1 else []),
            _Conv(wide, wide, kernel, stride, groups=wide),
            _Conv(wide, after, linear=True),
        )
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] → [B, after, H/stride, W/stride], rounded up."""
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


def load_weights(weights: Pretrained, net: nn.Module) -> None:
    """Give a net pretrained weights, all but those of its head.

    The first layer's of one channel are the sums of those of three, so that a grey image counts as a coloured one; a
    fourth channel counts for nothing at first. Raises what `Pretrained.read` does.
    """
    own = net.state_dict()
    names = [name for name in own if not name.startswith("head.")]
    read = dict(zip(names, weights.read().values(), strict=False))  # in the same order; their head of 1,000 comes last
    stem = read["stem.conv.weight"]  # [32, 3, 3, 3]
    channels = own["stem.conv.weight"].shape[1]
    if channels == 1:
        stem = stem.sum(1, keepdim=True)
    read["stem.conv.weight"] = F.pad(stem, (0, 0, 0, 0, 0, max(0, channels - 3)))
    net.load_state_dict({**own, **read})


def efficientnet_lite(weights: Pretrained, blocks: Sequence[int]) -> Architecture:
    """The architecture with so many blocks in each of the seven stages."""
    return Architecture(partial(EfficientNetLite, blocks=blocks), _RECIPES, {}, weights, partial(load_weights, weights))
