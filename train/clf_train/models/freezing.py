"""Freezing: the first layer is fixed after a share of the steps.

Half of the time of a step is spent on the gradient of a first convolution, which is learned first (Brock et al., 2017,
FreezeOut, https://arxiv.org/abs/1706.04983).
"""

from collections.abc import Sequence
from functools import cache

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from clf_train.errors import RecipeError
from clf_train.models.architecture import Hooks
from clf_train.models.recipe import Recipe


def freeze_first_layer(net: nn.Module, sample: Tensor, recipe: Recipe) -> Hooks:
    """Freeze the first layer after the share `freeze_after` of the steps, with its batch norm's statistics.

    The statistics of a batch norm without a learnable scale are still updated. Raises RecipeError if the net has
    only one layer.
    """
    if recipe.freeze_after == 1:
        return Hooks()
    first = first_layer(net)

    @cache
    def freeze() -> Sequence[nn.Parameter]:
        for module in net.modules():
            if isinstance(module, _BatchNorm) and any(module.weight is p for p in first):
                module.eval()
        return first

    def finish() -> None:
        for p in first:
            p.requires_grad_(True)

    return Hooks(lambda done: freeze() if done >= recipe.freeze_after else (), finish)


def first_layer(net: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters before the second matrix or kernel: those of the first layer, with its batch norm.

    Raises RecipeError if there is no second one.
    """
    parameters = list(net.parameters())
    weights = [i for i, p in enumerate(parameters) if p.ndim >= 2]
    if len(weights) < 2:
        raise RecipeError("freeze after must be 1 for this model: it has only one layer")
    return [p for p in parameters[: weights[1]] if p.requires_grad]
