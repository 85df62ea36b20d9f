"""Recipes: how each model is trained, as plain values, and the learning rate that follows from them.

Nothing here imports torch, so that a command's help can list what there is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from clf_train.errors import RecipeError

Model = Literal["simple", "conv"]
Optimizer = Literal["sgd", "adam", "adamw", "muon"]
Schedule = Literal["constant", "step", "multistep", "cosine", "onecycle"]

MODELS: tuple[Model, ...] = get_args(Model)
_WARM_UP = 0.2  # the share of a one-cycle run in which the learning rate rises


@dataclass(frozen=True)
class Recipe:
    """One way to train one model.

    `learning_rate` is the highest that the schedule reaches, `momentum` that of sgd and muon. `normalise` subtracts the
    training images' mean and divides by their standard deviation, channel by channel; without it uint8 images are only
    scaled to 0..1 and floats taken as they stand. `flip` mirrors half of the images left to right, `shift` moves each
    by up to so many pixels, the border filled with zeros after normalisation.

    `validation_share` of the training images is held out, the same share of each class: the epoch that does best on it
    is kept, and the temperature is fitted to it. 0 keeps the last epoch and a temperature of 1. `patience` ends the
    training after so many epochs without a better one; 0 never does.

    `channels_last` keeps images and convolutions in NHWC order while training, which processors are faster at; results
    differ by rounding only.
    """

    name: str
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Optimizer = "sgd"
    schedule: Schedule = "constant"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    shuffle: bool = True
    normalise: bool = True
    flip: bool = False
    shift: int = 0
    validation_share: float = 0.0
    patience: int = 0
    channels_last: bool = False

    def __post_init__(self) -> None:
        def demand(condition: bool, field: str, wanted: str) -> None:
            if not condition:
                raise RecipeError(f"{field.replace('_', ' ')} must be {wanted}, not {getattr(self, field)!r}")

        demand(1 <= self.epochs <= 100_000, "epochs", "1 to 100,000")
        demand(1 <= self.batch_size <= 1 << 20, "batch_size", "1 to 1,048,576")
        demand(0 < self.learning_rate <= 100, "learning_rate", "above 0 and at most 100")
        demand(self.optimizer in get_args(Optimizer), "optimizer", f"one of {', '.join(get_args(Optimizer))}")
        demand(self.schedule in get_args(Schedule), "schedule", f"one of {', '.join(get_args(Schedule))}")
        demand(0 <= self.momentum < 1, "momentum", "0 or more and below 1")
        demand(self.momentum == 0 or self.optimizer in ("sgd", "muon"), "momentum", "0: only sgd and muon have it")
        demand(not self.nesterov or self.momentum > 0, "nesterov", "off without momentum")
        demand(0 <= self.weight_decay < 1, "weight_decay", "0 or more and below 1")
        demand(0 <= self.label_smoothing < 1, "label_smoothing", "0 or more and below 1")
        demand(0 <= self.shift <= 64, "shift", "0 to 64 pixels")
        demand(0 <= self.validation_share <= 0.5, "validation_share", "0 to 0.5")
        demand(self.patience >= 0, "patience", "0 (never) or more epochs")
        demand(not self.patience or self.validation_share > 0, "patience", "0 without a validation share")


_FAST = Recipe(
    "fast", 5, 64, 0.1, schedule="onecycle", momentum=0.9, nesterov=True, weight_decay=5e-4, validation_share=0.05
)
_BEST = Recipe(
    "best",
    50,
    128,
    0.03,
    "muon",
    "onecycle",
    momentum=0.95,
    weight_decay=0.05,
    flip=True,
    shift=2,
    validation_share=0.05,
)

RECIPES: dict[str, dict[Model, Recipe]] = {
    # The user's own two loops: plain SGD in the order of the file, on the values as they stand.
    "seed": {
        "simple": Recipe("seed", 20, 100, 0.1, shuffle=False, normalise=False),
        "conv": Recipe("seed", 10, 25, 0.01, shuffle=False, normalise=False),
    },
    # One-cycle SGD (Smith and Topin, 2018, https://arxiv.org/abs/1708.07120), in little time.
    "fast": {
        "simple": replace(_FAST, learning_rate=0.05),
        "conv": replace(_FAST, channels_last=True),
    },
    # Muon (see muon.py), longer, on photographs that may be mirrored: not for digits or letters.
    "best": {
        "simple": replace(_BEST, batch_size=512, weight_decay=0.1),
        "conv": replace(_BEST, channels_last=True),
    },
}


def find_recipe(name: str, model: Model) -> Recipe:
    """Return a recipe by its name. Raises RecipeError if there is none."""
    if name not in RECIPES:
        raise RecipeError(f"recipe {name!r} is unknown: choose one of {', '.join(RECIPES)}")
    return RECIPES[name][model]


# What an optimizer brings when it takes the place of a recipe's own.
_OPTIMIZERS: dict[Optimizer, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    "adam": {"learning_rate": 0.001, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "adamw": {"learning_rate": 0.002, "momentum": 0.0, "nesterov": False, "weight_decay": 0.01},
    "muon": {"learning_rate": 0.03, "momentum": 0.95, "nesterov": False, "weight_decay": 0.05},
}


def change(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with some fields changed, which its name then says.

    Another optimizer brings its own learning rate, momentum and weight decay, where `changes` do not give them.
    Raises RecipeError if a value is impossible.
    """
    if not changes:
        return recipe
    changed = dict(changes)
    optimizer = changes.get("optimizer", recipe.optimizer)
    if optimizer != recipe.optimizer:
        changed = {**_OPTIMIZERS[optimizer], **changed}
    if not changed.get("momentum", recipe.momentum):
        changed["nesterov"] = False
    return replace(recipe, **{**changed, "name": f"{recipe.name}, changed"})


def learning_rate(recipe: Recipe, done: float) -> float:
    """The learning rate when a share `done` in [0, 1) of the training's steps is behind.

    `step` divides it by ten after each third; `multistep` by ten at a half and at three quarters; `cosine` lowers it to
    zero (Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983); `onecycle` raises it in a line from a
    twenty-fifth for the first fifth, then lowers it along a cosine to zero.
    """
    peak = recipe.learning_rate
    match recipe.schedule:
        case "constant":
            return peak
        case "step":
            return peak * 0.1 ** int(3 * done)
        case "multistep":
            return peak * 0.1 ** ((done >= 0.5) + (done >= 0.75))
        case "cosine":
            return peak * _cosine(done)
        case "onecycle":
            if done < _WARM_UP:
                return peak * (1 / 25 + (1 - 1 / 25) * done / _WARM_UP)
            return peak * _cosine((done - _WARM_UP) / (1 - _WARM_UP))


def _cosine(x: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * x))
