"""An architecture: a net, its recipes, and its own training tricks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from clf_train.errors import RecipeError
from clf_train.models.pretrained import Pretrained
from clf_train.models.recipe import TRICKS, Recipe

ImageShape = tuple[int, int, int]  # channels, height, width
Factory = Callable[[ImageShape, int], nn.Module]


@dataclass(frozen=True)
class Halves:
    """A net as two functions, for a training that changes the second only.

    `constant` maps normalised images float32 [B, C, H, W], each by itself, to float32 [B, ...], which `trained` maps to
    scores [B, K]. If the images are not augmented, the first is applied once to each, not in every epoch.
    """

    constant: Callable[[Tensor], Tensor]
    trained: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Hooks:
    """The actions of a trick during a training; by default none.

    `frozen` is called before each step with the share in [0, 1) of completed steps, and returns the parameters that the
    step must not change. `finish` is called after the last step, and restores the net to the form its factory made.
    `halves` says that the training leaves the beginning of the net as it is.
    """

    frozen: Callable[[float], Sequence[nn.Parameter]] = lambda done: ()
    finish: Callable[[], None] = lambda: None
    halves: Halves | None = None


# Called before the first step, with some of the training images, normalised, float32 [B, C, H, W]; may change the net.
Trick = Callable[[nn.Module, Tensor, Recipe], Hooks]


@dataclass(frozen=True)
class Architecture:
    """A net for images of a shape and a number of classes, its recipes by name, and its tricks.

    The net takes float32 [B, C, H, W] and returns logits or log-probabilities float32 [B, K]; its factory raises
    DataError if the images are too small. A trick has the name of the recipe's field that it reads, if it reads one.
    A `pretrained` one starts from these weights, which `load` copies into a new net; a recipe that fits the head
    uses the net's `features`, float32 [B, F], and its `head`, a linear layer on them.
    """

    factory: Factory
    recipes: Mapping[str, Recipe]
    tricks: Mapping[str, Trick]
    pretrained: Pretrained | None = None
    load: Callable[[nn.Module], None] = lambda net: None


def start_tricks(tricks: Mapping[str, Trick], net: nn.Module, sample: Tensor, recipe: Recipe) -> list[Hooks]:
    """Prepare a net for a training with its tricks; `sample` is some of its images, normalised, float32 [B, C, H, W].

    Raises RecipeError if the recipe uses one that the model lacks, or that does not fit the net.
    """
    for name in TRICKS:
        off = getattr(Recipe, name)
        if getattr(recipe, name) != off and name not in tricks:
            raise RecipeError(f"{name.replace('_', ' ')} must be {off:g} for this model: it has no such trick")
    return [trick(net, sample, recipe) for trick in tricks.values()]
