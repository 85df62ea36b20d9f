"""The models, for any image size and any number of classes: simple and conv exactly as they came, and resnet8.

A model is a function of the image shape (C, H, W) and the number of classes that returns a `torch.nn.Module`, which
takes float32 [B, C, H, W] and gives logits or log-probabilities float32 [B, K]. Anybody's own can take their place.

Letters in shapes: B images in a batch, C channels, H height, W width, K classes.
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clf_train.errors import DataError, FactoryError
from clf_train.models.own_code import told
from clf_train.models.pooling import norm_pool_relu
from clf_train.models.recipe import MODELS, Model, is_own

Factory = Callable[[tuple[int, int, int], int], nn.Module]


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
        x = self.conv1(x)
        if self.training:
            x = norm_pool_relu(x, self.norm1)
        else:  # ReLU after the maximum, not before: the same values from a quarter of the work.
            x = F.relu(F.max_pool2d(self.norm1(x), 2), inplace=True)
        x = F.avg_pool2d(F.relu(self.norm2(self.conv2(x)), inplace=True), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        out: Tensor = self.fc2(x)
        return out


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


_OURS: dict[Model, Factory] = dict(zip(MODELS, (SimpleNN, ConvNN, ResNet8), strict=True))


def build_model(name: Model, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Make a model with fresh weights from torch's global generator: one of ours, or that of `package.module:factory`.

    Raises DataError if the images are too small, FactoryError if a user's own model cannot be imported or made, or does
    not turn images into one float32 score a class.
    """
    if not is_own(name):
        return _OURS[name](image_shape, classes)
    factory = _import(name)
    try:
        net = factory(image_shape, classes)
    except Exception as error:
        raise FactoryError(f"{name}: cannot be made for images of {image_shape}: {told(error)}") from None
    if not isinstance(net, nn.Module):
        raise FactoryError(f"{name}: gave a {type(net).__name__}; wanted: a torch.nn.Module")
    if not any(p.requires_grad for p in net.parameters()):
        raise FactoryError(f"{name}: has no parameters to train")
    net.eval()
    try:
        with torch.no_grad():
            scores = net(torch.zeros(2, *image_shape))
    except Exception as error:
        raise FactoryError(
            f"{name}: fails on images of [2, {', '.join(map(str, image_shape))}]: {told(error)}"
        ) from None
    net.train()
    if not isinstance(scores, Tensor) or scores.shape != (2, classes) or scores.dtype != torch.float32:
        given = type(scores).__name__
        if isinstance(scores, Tensor):
            given = f"{str(scores.dtype).removeprefix('torch.')} {list(scores.shape)}"
        raise FactoryError(f"{name}: gives {given} for 2 images; wanted: logits, float32 [2, {classes}]")
    return net


def _import(name: Model) -> Factory:
    """Import a factory by its name, from the current folder or what is installed.

    The current folder comes last on `sys.path`, and stays there, since a net may import its neighbours as late as in
    `forward()`: first, a file in it would stand for any module of its name that anybody imports from then on.
    """
    module_name, _, attribute = name.rpartition(":")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    top = module_name.partition(".")[0]
    try:
        mine, found_first = PathFinder.find_spec(top, [os.path.realpath(here)]), importlib.util.find_spec(top)
        if mine and mine.origin and found_first and os.path.realpath(found_first.origin or "") != mine.origin:
            raise ImportError(f"{mine.origin} has the name of a module that is installed; give it another")
        found = importlib.import_module(module_name)
    except Exception as error:
        raise FactoryError(f"{name}: {module_name} cannot be imported: {told(error)}") from None
    factory = getattr(found, attribute, None)
    if not callable(factory):
        raise FactoryError(f"{name}: {module_name} has no function or class {attribute!r}")
    return factory  # type: ignore[no-any-return]


def hint(net: nn.Module, image_shape: tuple[int, int, int]) -> str | None:
    """What whoever made a net should know of it, one sentence: that its scores seem to be probabilities already.

    They are if those of some images of noise, in evaluation mode, are nowhere negative and sum to one for each image.
    """
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    noise = torch.randn(4, *image_shape, generator=torch.Generator().manual_seed(0)).to(device)
    modes = [(module, module.training) for module in net.modules()]
    try:
        with torch.inference_mode():
            scores = net.eval()(noise)
    finally:
        net.train(modes[0][1])
        for module, training in modes:
            module.training = training
    if (scores < 0).any() or (scores.sum(1) - 1).abs().max() > 1e-4:
        return None
    return (
        "the net seems to end in a softmax; the loss and the exported graph have one of their own, and two of them "
        "learn badly and are never sure: leave it out of forward()"
    )


def count_parameters(net: nn.Module) -> int:
    """The number of values that training fits."""
    return sum(p.numel() for p in net.parameters())
