"""What an architecture brings to its training: a net, recipes, and tricks of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from clf_train.errors import RecipeError
from clf_train.models.pretrained import Pretrained
from clf_train.models.recipe import TRICKS, Recipe

ImageShape = tuple[int, int, int]  # channels, height, width
Factory = Callable[[ImageShape, int], nn.Module]


@dataclass(frozen=True)
class Hooks:
    """What a trick does while a net trains; by default nothing.

    `frozen` is asked before each step, with the share in [0, 1) of the steps that are behind, for the parameters that
    this step leaves as they are. `finish` follows the last step, and leaves the net as its factory made it.
    """

    frozen: Callable[[float], Sequence[nn.Parameter]] = lambda done: ()
    finish: Callable[[], None] = lambda: None


Trick = Callable[[nn.Module, ImageShape, Recipe], Hooks]  # called before the first step; may change the net


@dataclass(frozen=True)
class Architecture:
    """A net for images of a shape and a number of classes, its recipes by name, and its tricks.

    The net takes float32 [B, C, H, W] and gives logits or log-probabilities float32 [B, K]; its factory raises
    DataError if the images are too small. A trick is named as the recipe's field that it reads, if it reads one.
    One that is `pretrained` starts from these weights, which `load` gives a new net; a recipe that fits the head
    asks the net for its `features`, float32 [B, F], and its `head`, a linear layer on them.
    """

    factory: Factory
    recipes: Mapping[str, Recipe]
    tricks: Mapping[str, Trick]
    pretrained: Pretrained | None = None
    load: Callable[[nn.Module], None] = lambda net: None


def start_tricks(tricks: Mapping[str, Trick], net: nn.Module, image_shape: ImageShape, recipe: Recipe) -> list[Hooks]:
    """Prepare a net for a training with its tricks.

    Raises RecipeError if the recipe asks for one that the model has not, or that does not fit the net.
    """
    for name in TRICKS:
        off = getattr(Recipe, name)
        if getattr(recipe, name) != off and name not in tricks:
            raise RecipeError(f"{name.replace('_', ' ')} must be {off:g} for this model: it has no such trick")
    return [trick(net, image_shape, recipe) for trick in tricks.values()]
