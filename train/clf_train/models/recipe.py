"""Recipes: how a model is trained, as plain values, and the learning rate that follows from them.

Nothing here imports torch, so that a command's help can list the choices.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from clf_train.errors import RecipeError

Optimizer = Literal["sgd", "adam", "adamw", "muon"]
Schedule = Literal["constant", "step", "multistep", "cosine", "onecycle"]

Precision = Literal["float32", "bf16"]
ClassWeights = Literal["balanced", "off"]

TRICKS = (
    "low_frequencies",
    "whiten",
    "freeze_after",
)  # fields that are read by a trick of the model (see architecture.py)
LEAST_FOLDS, MOST_FOLDS = 2, 20  # of a training: see loop/folds.py
_MANY = 30_000  # images, of which three epochs of `conv`'s fast recipe are its `least_steps`
_WARM_UP = 0.2  # the share of a one-cycle run in which the learning rate rises


@dataclass(frozen=True)
class Recipe:
    """One way to train one model.

    `learning_rate` is the highest that the schedule reaches, `momentum` that of sgd and muon. Muon's learning rate for
    biases and batch norm is `bias_share` times that of the weights. `normalise` subtracts the training images' mean and
    divides by their standard deviation, channel by channel; without it uint8 images are only scaled to 0..1 and floats
    used unchanged. `flip` flips half of the images left to right, `shift` shifts each by up to this number of pixels,
    padded with zeros after normalisation.

    `least_steps` is for small data: if `epochs` give fewer steps, the number of epochs is increased (see `fit_to`).
    `low_frequencies` k trains a first layer that is linear on all pixels on the k·k lowest of each channel alone; 0 on
    all (see simple.py). `whiten` computes the first layer, a convolution, from the images (see whitening.py), and
    `freeze_after` fixes it after that share of the steps (see freezing.py). These are for models that have the trick.

    `validation_share` of the training images is held out, the same share of each class: the best epoch on it is
    kept, and the temperature is fitted to it. 0 keeps the last epoch and a temperature of 1. `patience` ends the
    training after this number of epochs without an improvement; 0 never does.

    `channels_last` keeps images and convolutions in NHWC order during training, which is faster; results differ by
    rounding only. `precision` bf16 computes the net in bfloat16 where that is safe (torch.autocast), on CUDA and on
    processors that have instructions for it.

    `class_weights` balanced counts each image in the loss by n / (K n_k), where n_k of n images in K classes are of its
    class, so that all classes count alike (King and Zeng, 2001, "Logistic regression in rare events data"); and so in
    the validation figures by which the epoch is chosen.

    `fit_head` is for pretrained models: before the first step the head is fitted to the features below it (see
    loop/head.py). With 0 `epochs` that is all; the rest of the net is not changed.
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
    bias_share: float = 0.1
    label_smoothing: float = 0.0
    shuffle: bool = True
    normalise: bool = True
    flip: bool = False
    shift: int = 0
    validation_share: float = 0.0
    patience: int = 0
    channels_last: bool = False
    least_steps: int = 0
    low_frequencies: int = 0
    whiten: bool = False
    freeze_after: float = 1.0
    precision: Precision = "float32"
    fit_head: bool = False
    class_weights: ClassWeights = "off"

    def __post_init__(self) -> None:
        def demand(condition: bool, field: str, wanted: str) -> None:
            if not condition:
                raise RecipeError(f"{field.replace('_', ' ')} must be {wanted}, not {getattr(self, field)!r}")

        least = 0 if self.fit_head else 1
        demand(least <= self.epochs <= 100_000, "epochs", f"{least} to 100,000")
        demand(1 <= self.batch_size <= 1 << 20, "batch_size", "1 to 1,048,576")
        demand(0 < self.learning_rate <= 100, "learning_rate", "above 0 and at most 100")
        demand(self.optimizer in get_args(Optimizer), "optimizer", f"one of {', '.join(get_args(Optimizer))}")
        demand(self.schedule in get_args(Schedule), "schedule", f"one of {', '.join(get_args(Schedule))}")
        demand(0 <= self.momentum < 1, "momentum", "0 or more and below 1")
        demand(self.momentum == 0 or self.optimizer in ("sgd", "muon"), "momentum", "0: only sgd and muon have it")
        demand(not self.nesterov or self.momentum > 0, "nesterov", "off without momentum")
        demand(0 <= self.weight_decay < 1, "weight_decay", "0 or more and below 1")
        demand(0 < self.bias_share <= 100, "bias_share", "above 0 and at most 100")
        demand(0 <= self.label_smoothing < 1, "label_smoothing", "0 or more and below 1")
        demand(0 <= self.shift <= 64, "shift", "0 to 64 pixels")
        demand(0 <= self.validation_share <= 0.5, "validation_share", "0 to 0.5")
        demand(self.patience >= 0, "patience", "0 (never) or more epochs")
        demand(0 <= self.least_steps <= 1_000_000, "least_steps", "0 to 1,000,000")
        demand(0 <= self.low_frequencies <= 1000, "low_frequencies", "0 to 1,000")
        demand(0 < self.freeze_after <= 1, "freeze_after", "above 0 and at most 1")
        demand(self.precision in get_args(Precision), "precision", f"one of {', '.join(get_args(Precision))}")
        demand(self.class_weights in get_args(ClassWeights), "class_weights", " or ".join(get_args(ClassWeights)))
        demand(not self.patience or self.validation_share > 0, "patience", "0 without a validation share")


# The bases of the models' recipes; each model states the accuracies of its own.

# The user's original loops: plain SGD in file order, on unnormalised values.
SEED = Recipe("seed", 20, 100, 0.1, shuffle=False, normalise=False)

# Few epochs with Muon (see loop/optimizers.py), at a learning rate that rises and falls once (Smith and Topin, 2018,
# https://arxiv.org/abs/1708.07120).
FAST = Recipe(
    "fast",
    epochs=2,
    batch_size=128,
    learning_rate=0.06,
    optimizer="muon",
    schedule="onecycle",
    momentum=0.95,
    weight_decay=0.05,
    validation_share=0.05,
    least_steps=350,
)

# Longer, on photographs that may be mirrored: not for digits or letters.
BEST = replace(FAST, name="best", epochs=50, learning_rate=0.03, least_steps=0, flip=True, shift=2)


def fit_to(recipe: Recipe, images: int) -> Recipe:
    """The recipe with the epochs that this number of training images needs for its `least_steps`.

    Where the images are few, time is not what matters, and the first layer is trained in any case, which is slightly
    more accurate.
    """
    steps = -(-images // recipe.batch_size)
    epochs = max(recipe.epochs, -(-recipe.least_steps // steps))
    return replace(recipe, epochs=epochs, whiten=recipe.whiten and images >= _MANY)


# The values that come with an optimizer when it replaces a recipe's own.
_OPTIMIZERS: dict[Optimizer, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    "adam": {"learning_rate": 0.001, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "adamw": {"learning_rate": 0.002, "momentum": 0.0, "nesterov": False, "weight_decay": 0.01},
    "muon": {"learning_rate": 0.03, "momentum": 0.95, "nesterov": False, "weight_decay": 0.05},
}


def change(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with some fields changed, and "changed" in its name.

    Another optimizer has its own learning rate, momentum and weight decay, unless `changes` has them; its
    epochs apply to small data too.
    Raises RecipeError if a value is invalid.
    """
    if not changes:
        return recipe
    changed = {"least_steps": 0, **changes} if "epochs" in changes else dict(changes)
    optimizer = changes.get("optimizer", recipe.optimizer)
    if optimizer != recipe.optimizer:
        changed = {**_OPTIMIZERS[optimizer], **changed}
    if not changed.get("momentum", recipe.momentum):
        changed["nesterov"] = False
    return replace(recipe, **{**changed, "name": f"{recipe.name}, changed"})


def learning_rate(recipe: Recipe, done: float) -> float:
    """The learning rate after a share `done` in [0, 1) of the training's steps.

    `step` divides it by ten after each third; `multistep` by ten at a half and at three quarters; `cosine` lowers it to
    zero (Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983); `onecycle` raises it linearly from a
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
