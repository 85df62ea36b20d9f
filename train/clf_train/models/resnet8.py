"""resnet8: the residual net of MLPerf Tiny, for any image size and any number of classes.

Letters in shapes: B images in a batch, C channels, H height, W width, K classes.
"""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from clf_train.errors import DataError
from clf_train.models.architecture import Architecture
from clf_train.models.freezing import freeze_first_layer
from clf_train.models.recipe import BEST, FAST

# Mean test accuracy on the JPEG-coded CIFAR-10; the README has the commands.
_RECIPES = {
    "fast": replace(FAST, epochs=3, channels_last=True),  # not measured
    "best": replace(  # 84.8 %, two seeds, in bfloat16
        BEST, epochs=60, learning_rate=0.05, weight_decay=0.025, bias_share=1, channels_last=True
    ),
}


class ResNet8(nn.Module):
    """The residual net of MLPerf Tiny's image classification benchmark: 16, 32 and 64 filters, one block of each.

    Takes float32 [B, C, H, W], gives logits float32 [B, K]. 77,946 parameters and 12.5 million multiply-adds for
    3x32x32 and ten classes. After Banbury et al., 2021, https://arxiv.org/abs/2106.07597, and its reference model,
    https://github.com/mlcommons/tiny; convolutions that a batch norm follows have no bias here, which changes nothing.
    Raises DataError if H or W is below 4.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < 4:
            raise DataError(f"images of {height}x{width} are too small for the model resnet8: it needs 4x4 or more")
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(_Block(16, 16, 1), _Block(16, 32, 2), _Block(32, 64, 2))
        self.fc = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, K] logits."""
        x = F.relu(self.norm(self.conv(x)), inplace=True)
        x = self.blocks(x)
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] → [B, after, H/stride, W/stride]."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


ARCHITECTURE = Architecture(ResNet8, _RECIPES, {"freeze_after": freeze_first_layer})
