"""What is trained where nobody says: small nets on small pictures, a pretrained one on photographs."""

from collections.abc import Iterable

from clf_train.models.registry import Model, find_architecture

PHOTOGRAPHS = "efficientnet_lite0"
_LARGER_THAN = 64  # pixels of the longer side: what is smaller has few of the details that its weights know
_LEAST_SIDE = 32  # that it takes
_SIDE = 224  # that its weights were trained for


def default_size(models: Iterable[Model]) -> tuple[int, int] | None:
    """The (height, width) that pictures get for these models, where nobody says: None leaves it to their own sizes."""
    return (_SIDE, _SIDE) if PHOTOGRAPHS in models else None


def default_model(size: tuple[int, int], recipe: str) -> tuple[Model | None, str]:
    """Choose a model for images of (height, width) by a recipe of this name, or None for small ones, and say which.

    The pretrained model is chosen for larger images, if it has such a recipe and its weights are installed.
    """
    height, width = size
    architecture = find_architecture(PHOTOGRAPHS)
    if max(height, width) <= _LARGER_THAN or min(height, width) < _LEAST_SIDE or recipe not in architecture.recipes:
        return None, ""
    assert architecture.pretrained is not None
    images = f"images of about {width}x{height} pixels"
    if (missing := architecture.pretrained.missing()) is not None:
        return None, f"{images} would do better with the pretrained model {PHOTOGRAPHS}, but {missing}"
    return PHOTOGRAPHS, f"{images} train the pretrained model {PHOTOGRAPHS}; --model simple,conv trains small ones"
