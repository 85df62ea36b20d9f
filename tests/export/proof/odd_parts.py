"""What the odd nets are made with."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Forward = Callable[[nn.ModuleDict, Tensor], object]
Factory = Callable[[tuple[int, int, int], int], nn.Module]


class Net(nn.Module):
    """A net of some parts whose forward is `forward(parts, x)`; there is always a last layer `fc` of `width` inputs."""

    def __init__(self, forward: Forward, parts: dict[str, nn.Module], width: int, classes: int) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({**parts, "fc": nn.Linear(width, classes)})
        self.given = forward

    def forward(self, x):
        return self.given(self.parts, x)


def net(forward: Forward, width: int = 768, **parts: Callable[[], nn.Module]) -> Factory:
    """A factory of a Net whose parts are made by functions."""

    def factory(image_shape, classes):
        torch.manual_seed(0)
        return Net(forward, {name: make() for name, make in parts.items()}, width, classes)

    return factory


def layers(*make: Callable[[], nn.Module], width: int = 768) -> Factory:
    """A factory of a Sequential that ends in Flatten and Linear."""

    def factory(image_shape, classes):
        torch.manual_seed(0)
        return nn.Sequential(*(m() for m in make), nn.Flatten(), nn.Linear(width, classes))

    return factory


def conv(before: int = 3, after: int = 8, size: int = 3, **more: object) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, padding=size // 2, **more)


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def flat(p: nn.ModuleDict, x: Tensor) -> Tensor:
    scores: Tensor = p["fc"](x.flatten(1))
    return scores
