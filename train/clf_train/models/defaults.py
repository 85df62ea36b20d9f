"""The default models: small nets for small pictures, a pretrained one for photographs."""

from collections.abc import Iterable

from clf_train.models.registry import Model, find_architecture

PHOTOGRAPHS = "efficientnet_lite0"
SMALL: tuple[Model, ...] = ("simple", "conv")  # and for `both`
_LARGER_THAN = 64  # pixels of the longer side: smaller images lack the details that its weights detect
_LEAST_SIDE = 32  # of its input
_SIDES: dict[Model, int] = {  # of the images that these models' weights were trained on, in pixels
    "efficientnet_lite0": 224,
    "efficientnet_lite1": 240,
}


def default_size(models: Iterable[Model]) -> tuple[int, int] | None:
    """The default (height, width) of pictures for these models; None derives it from the sizes of the pictures.

    Of several pretrained models the largest size counts.
    """
    side = max((_SIDES[model] for model in models if model in _SIDES), default=None)
    return None if side is None else (side, side)


def default_model(size: tuple[int, int], recipe: str) -> tuple[Model | None, str]:
    """Choose a model with a recipe of this name for images of (height, width), None for small ones; returns a note too.

    The pretrained model is chosen for larger images, if it has such a recipe and its weights are installed.
    """
    height, width = size
    architecture = find_architecture(PHOTOGRAPHS)
    if max(height, width) <= _LARGER_THAN or min(height, width) < _LEAST_SIDE or recipe not in architecture.recipes:
        return None, ""
    assert architecture.pretrained is not None
    images = f"images of about {width}x{height} pixels"
    if (missing := architecture.pretrained.missing()) is not None:
        return None, f"{images}: the pretrained model {PHOTOGRAPHS} would be better, but {missing}"
    return PHOTOGRAPHS, f"{images}: training the pretrained model {PHOTOGRAPHS}; --model simple,conv trains small ones"
