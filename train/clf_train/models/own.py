"""A user's own model, `package.module:factory`: import, construction, checks, and where in its code exceptions arise.

Letters in shapes: K classes.
"""

import importlib.util
import os
import sys
import sysconfig
import traceback
from dataclasses import replace
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clf_runtime.errors import brief
from clf_train.errors import FactoryError
from clf_train.models.architecture import Architecture, Factory, ImageShape
from clf_train.models.freezing import freeze_first_layer
from clf_train.models.recipe import FAST
from clf_train.models.simple import low_frequencies

# AdamW (Loshchilov and Hutter, 2019, https://arxiv.org/abs/1711.05101) learns reasonably with any architecture.
# Not measured on CIFAR-10.
_FAST = replace(FAST, epochs=5, learning_rate=0.01, least_steps=700, optimizer="adamw", momentum=0.0, weight_decay=0.01)
_RECIPES = {"fast": _FAST, "best": replace(_FAST, name="best", epochs=50, flip=True, shift=2)}
_TRICKS = {"low_frequencies": low_frequencies, "freeze_after": freeze_first_layer}

_PLACES = sysconfig.get_paths()
_NOT_OWN = tuple(
    str(Path(folder).resolve()) + os.sep
    for folder in {
        *(_PLACES[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(str(Path(places[0]).parent) for places in (torch.__path__, np.__path__)),  # a system's may be elsewhere
    }
)
_OURS = ("clf_runtime", "clf_train", "clf_export")


def own_architecture(name: str) -> Architecture:
    """The architecture of a user's own model, whose code is imported when its net is built."""
    return Architecture(partial(_build, name), _RECIPES, _TRICKS)


def _build(name: str, image_shape: ImageShape, classes: int) -> nn.Module:
    """Build a user's net. Raises FactoryError if it cannot be imported or built, or does not return K scores."""
    factory = _import(name)
    try:
        net = factory(image_shape, classes)
    except (Exception, SystemExit) as error:
        raise FactoryError(f"{name}: cannot be built for images of {image_shape}: {describe_error(error)}") from None
    if not isinstance(net, nn.Module):
        raise FactoryError(f"{name}: returned a {type(net).__name__}, expected a torch.nn.Module")
    if not any(p.requires_grad for p in net.parameters()):
        raise FactoryError(f"{name}: has no parameters to train")
    net.eval()
    try:
        with torch.no_grad():
            scores = net(torch.zeros(2, *image_shape))
    except (Exception, SystemExit) as error:
        raise FactoryError(
            f"{name}: fails on images of [2, {', '.join(map(str, image_shape))}]: {describe_error(error)}"
        ) from None
    net.train()
    if not isinstance(scores, Tensor) or scores.shape != (2, classes) or scores.dtype != torch.float32:
        given = type(scores).__name__
        if isinstance(scores, Tensor):
            given = f"{str(scores.dtype).removeprefix('torch.')} {list(scores.shape)}"
        raise FactoryError(f"{name}: returns {given} for 2 images, expected logits, float32 [2, {classes}]")
    return net


def _import(name: str) -> Factory:
    """Import a factory by its name, from the current folder or what is installed.

    The current folder is appended to `sys.path`, and stays there, since a net may import other files as late as in
    `forward()`. It is not first, so that a file in it does not shadow an installed module.
    """
    module_name, _, attribute = name.rpartition(":")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    top = module_name.partition(".")[0]
    try:
        mine, found_first = PathFinder.find_spec(top, [os.path.realpath(here)]), importlib.util.find_spec(top)
        if mine and mine.origin and found_first and os.path.realpath(found_first.origin or "") != mine.origin:
            raise ImportError(f"{mine.origin} has the name of an installed module; rename it")
        found = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise FactoryError(f"{name}: {module_name} cannot be imported: {describe_error(error)}") from None
    factory = getattr(found, attribute, None)
    if not callable(factory):
        raise FactoryError(f"{name}: {module_name} has no function or class {attribute!r}")
    return factory  # type: ignore[no-any-return]


def softmax_hint(net: nn.Module, image_shape: ImageShape) -> str | None:
    """A hint to the author of a net if its scores seem to be probabilities already, else None.

    They are if those of some noise images, in evaluation mode, are nowhere negative and sum to one for each image.
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
        "the net seems to end in a softmax, but loss and exported graph already include one; remove it from forward()"
    )


def location(error: BaseException) -> str | None:
    """`FILE, line N` of the deepest frame that is neither Python's, nor an installed package's, nor ours.

    None if there is no such frame. A file below the working directory has a relative path.
    """
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if os.path.isfile(file) and package not in _OURS and not str(Path(file).resolve()).startswith(_NOT_OWN):
            found = f"{_short(file)}, line {line}"
    return found


def describe_error(error: BaseException, *, limit: int = 200) -> str:
    """An exception as one line: its type, its message, and its location in the user's own code, if it has one."""
    where = location(error)
    return f"{type(error).__name__}: {brief(error, limit)}" + (f" ({where})" if where else "")


def _short(file: str) -> str:
    relative = os.path.relpath(file)
    return file if relative.startswith(os.pardir) else relative
