"""The two models, exactly as they came, for any image size and any number of classes.

Letters in shapes: B images in a batch, C channels, H height, W width, K classes.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from clf_train.errors import DataError
from clf_train.recipe import Model


class SimpleNN(nn.Module):
    """Fully connected: C·H·W → 256 → 128 → 64 → K, with ReLU between and a log-softmax at the end.

    Takes float32 [B, C, H, W], gives log-probabilities float32 [B, K]. 828,490 parameters for 3x32x32 and ten classes.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.fc1 = nn.Linear(channels * height * width, 256)
        self.fc2 = nn.Linear(256, 128)
        self.fc3 = nn.Linear(128, 64)
        self.fc4 = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, K] log-probabilities."""
        x = x.flatten(1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc3(x))
        return F.log_softmax(self.fc4(x), dim=1)


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
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.avg_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        out: Tensor = self.fc2(x)
        return out


def build_model(name: Model, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Make a model with fresh weights from torch's global generator. Raises DataError if the images are too small."""
    return {"simple": SimpleNN, "conv": ConvNN}[name](image_shape, classes)


def count_parameters(net: nn.Module) -> int:
    """The number of values that training fits."""
    return sum(p.numel() for p in net.parameters())
