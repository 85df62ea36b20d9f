"""What is trained where nobody says: small nets on small pictures, a pretrained one on photographs."""

from clf_train.models.registry import Model, find_architecture

PHOTOGRAPHS = "efficientnet_lite0"
_LARGER_THAN = 64  # pixels of the longer side: what is smaller has few of the details that its weights know
_LEAST_SIDE = 32  # that it takes


def default_model(image_shape: tuple[int, int, int], recipe: str) -> tuple[Model | None, str]:
    """Choose a model for images [C, H, W] by a recipe of this name, or None for the small ones, and say what it is.

    The pretrained model is chosen for larger images, if it has such a recipe and its weights are installed.
    """
    _, height, width = image_shape
    architecture = find_architecture(PHOTOGRAPHS)
    if max(height, width) <= _LARGER_THAN or min(height, width) < _LEAST_SIDE or recipe not in architecture.recipes:
        return None, ""
    assert architecture.pretrained is not None
    size = f"images of {height}x{width}"
    if (missing := architecture.pretrained.missing()) is not None:
        return None, f"{size} would do better with the pretrained model {PHOTOGRAPHS}, but {missing}"
    return PHOTOGRAPHS, f"{size} train the pretrained model {PHOTOGRAPHS}; --model simple,conv trains small ones"
