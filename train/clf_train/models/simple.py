"""simple: the fully connected net as it came, for any image size and any number of classes.

Its trick, low frequencies: a fully connected first layer learns faster, and costs a fraction, on the coarse structure
of an image alone. A photograph's detail is faint (amplitudes fall as one over the spatial frequency: Field, 1987,
"Relations between the statistics of natural images and the response properties of cortical cells", JOSA A 4(12)), and
there is much of it: of the 32x32 frequencies of a channel the 8x8 lowest are a sixteenth. So the layer is trained on
the lowest k·k cosine frequencies of each channel, each weighted by how high it is, which evens out their amplitudes.
The transform is linear, so that the layer is one on pixels again when training is over, with the same outputs.

Letters in shapes: B images in a batch, C channels, H height, W width, F outputs, k frequencies an axis, K classes.
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clf_train.errors import RecipeError
from clf_train.models.architecture import Architecture, Halves, Hooks
from clf_train.models.freezing import freeze_first_layer
from clf_train.models.recipe import BEST, SEED, Recipe

# Each with the mean test accuracy on the JPEG-coded CIFAR-10; the README has the commands.
_RECIPES = {
    "seed": SEED,  # 49.1 %, one seed
    "fast": Recipe(  # 53.7 %, three seeds
        "fast",
        epochs=3,
        batch_size=256,
        learning_rate=0.15,
        optimizer="sgd",
        schedule="onecycle",
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        low_frequencies=8,
        validation_share=0.05,
        least_steps=350,
    ),
    "best": replace(BEST, batch_size=512, weight_decay=0.1),  # 65.8 %, three seeds
}


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
        return self.after_first(self.fc1(x.flatten(1)))

    def after_first(self, x: Tensor) -> Tensor:
        """Outputs of the first layer, float32 [B, 256] → [B, K] log-probabilities."""
        x = F.relu(self.fc2(F.relu(x)))
        x = F.relu(self.fc3(x))
        return F.log_softmax(self.fc4(x), dim=1)


def low_frequencies(net: nn.Module, sample: Tensor, recipe: Recipe) -> Hooks:
    """Let a net's first layer, linear on all pixels, take the lowest k·k frequencies of each channel in their place.

    k is the recipe's `low_frequencies`. The layer's weight [F, C·H·W] becomes [F, C·k·k], and one on pixels again when
    the training is over.
    Raises RecipeError if the first layer is no linear one on all pixels.
    """
    k = recipe.low_frequencies
    if not k:
        return Hooks()
    channels, height, width = sample.shape[1:]
    pixels = channels * height * width
    first = next((module for module in net.modules() if next(module.parameters(recurse=False), None) is not None), None)
    if not isinstance(first, nn.Linear) or first.in_features != pixels:
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

    def to_pixels() -> None:
        handle.remove()
        narrowed = layer.weight.detach().view(-1, channels, *weights.shape) * weights
        weight.data = (down @ (narrowed @ across.T)).flatten(1)
        layer.weight = weight

    with torch.no_grad():  # orthonormal, so that the initial weights keep their size
        layer.weight = nn.Parameter((down.T @ (weight.view(-1, channels, height, width) @ across)).flatten(1))
    handle = layer.register_forward_pre_hook(pre_hook)
    if not isinstance(net, SimpleNN):  # what a user's own net does before its first layer is not known
        return Hooks(finish=to_pixels)
    halves = Halves(to_frequencies, lambda x: net.after_first(F.linear(x, layer.weight, layer.bias)))
    return Hooks(finish=to_pixels, halves=halves)


def cosines(n: int, k: int) -> Tensor:
    """The k lowest of the n cosine waves of the DCT-II, orthonormal, float32 [n, k].

    After Ahmed, Natarajan and Rao, 1974, "Discrete cosine transform", IEEE Transactions on Computers C-23(1).
    """
    waves = torch.cos(math.pi / n * (torch.arange(n)[:, None] + 0.5) * torch.arange(k)) * math.sqrt(2 / n)
    waves[:, 0] *= math.sqrt(0.5)
    return waves


ARCHITECTURE = Architecture(
    SimpleNN, _RECIPES, {"low_frequencies": low_frequencies, "freeze_after": freeze_first_layer}
)
