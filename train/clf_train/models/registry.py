"""The registry of models: one line per architecture, whose net, recipes and tricks are one module of this room.

Nothing here imports torch before a model is looked up, so that a command's help can list them.
"""

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from clf_runtime.errors import MissingExtraError
from clf_train.errors import RecipeError
from clf_train.models.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from clf_train.models.architecture import Architecture

Model = str  # the name of one of ours, or `package.module:factory` for a user's own

MODELS: dict[Model, str] = {  # the module of each, whose ARCHITECTURE it is
    "simple": "clf_train.models.simple",
    "conv": "clf_train.models.conv",
    "resnet8": "clf_train.models.resnet8",
    "efficientnet_lite0": "clf_train.models.efficientnet_lite0",
    "efficientnet_lite1": "clf_train.models.efficientnet_lite1",
}


def is_own(model: Model) -> bool:
    """Whether a model is a user's own, named `package.module:factory`."""
    return ":" in model


def find_architecture(model: Model) -> "Architecture":
    """Return one of our architectures, or that of a user's own net, whose code is imported once it is built."""
    if is_own(model):
        from clf_train.models.own import own_architecture

        return own_architecture(model)
    found: Architecture = importlib.import_module(MODELS[model]).ARCHITECTURE
    return found


def find_recipe(name: str, model: Model) -> Recipe:
    """Return the recipe with a name for a model, one of ours or a user's own. Raises RecipeError if there is none."""
    module, _, factory = model.rpartition(":")
    if module.endswith(".py"):
        raise RecipeError(f"model {model!r} is a file name; write it as {module.removesuffix('.py')}:{factory}")
    if model not in MODELS and not (module and factory):
        raise RecipeError(f"unknown model {model!r}; choose {', '.join(MODELS)}, or package.module:factory")
    recipes = find_architecture(model).recipes
    if name in recipes:
        return recipes[name]
    ours = {m: find_architecture(m).recipes for m in MODELS}
    having = [m for m in MODELS if name in ours[m]]
    if not having:
        known = dict.fromkeys(known for m in MODELS for known in ours[m])
        raise RecipeError(f"unknown recipe {name!r}; choose one of {', '.join(known)}")
    raise RecipeError(f"recipe {name!r} is for {' and '.join(having)} only; choose another for {model}")


def refuse_missing(models: Iterable[Model]) -> None:
    """Raise MissingExtraError, with the install command, if one of these needs weights that are not installed."""
    for model in models:
        weights = None if is_own(model) else find_architecture(model).pretrained
        if weights is not None and (said := weights.missing()) is not None:
            raise MissingExtraError(said)


def build_model(model: Model, image_shape: tuple[int, int, int], classes: int) -> "nn.Module":
    """Make a model with fresh weights from torch's global generator: one of ours, or that of `package.module:factory`.

    Raises DataError if the images are too small, FactoryError if a user's own model cannot be imported or built, or
    does not return one float32 score per class.
    """
    return find_architecture(model).factory(image_shape, classes)


def count_parameters(net: "nn.Module") -> int:
    """The number of values that training fits."""
    return sum(p.numel() for p in net.parameters())
