"""Where a model file saw the class that it predicts, on the device itself."""

import time
from dataclasses import dataclass

import numpy as np

from clf_runtime.classifier import Classifier
from clf_runtime.explanation.heat_map import beside
from clf_runtime.explanation.occlusion import occlude
from clf_runtime.explanation.png import png
from clf_runtime.inputs.batching import Image, to_batch_of_one


@dataclass(frozen=True)
class Explanation:
    """Where a model saw the class `name`, of the index `index`, to which it gave the probability `probability`.

    `heat`, float32 [height, width] of the model's input, is by how much the log-odds of the class, in nats, fall when
    the surroundings cover a patch there (see occlusion.Occlusion). `patch` is the (height, width) of a patch in pixels,
    `runs` the number of patches tried, in `seconds`. `image` is what the model saw, [channels, height, width] in its
    dtype, within `value_range`.
    """

    heat: np.ndarray
    index: int
    name: str
    probability: float
    patch: tuple[int, int]
    runs: int
    seconds: float
    image: np.ndarray
    value_range: tuple[float, float]

    def to_png(self) -> bytes:
        """A PNG of the image and, beside it, the heat map: red speaks for the class, blue against it."""
        return png(beside(self.image, self.heat, self.value_range))


def explain(classifier: Classifier, image: Image, *, index: int | None = None, where: str = "image") -> Explanation:
    """Find where a model sees a class in one image, by occlusion: about 300 runs of the model, in batches.

    `image` is an array, or the path of a file, as for `Classifier.predict`; `index` is the class, by default the
    predicted one; `where` names an array in errors.
    Raises ValueError if there is no class `index`; ImageError and ModelError as `Classifier.predict` does.
    """
    card = classifier.card
    if index is not None and not 0 <= index < len(card.names):
        raise ValueError(f"index must be of one of {len(card.names):,} classes, not {index}")
    began = time.perf_counter()
    is_last = card.layout == "NHWC"
    taken = to_batch_of_one(image, card, where)[0]

    def scores(images: np.ndarray) -> np.ndarray:
        return classifier.probabilities(np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if is_last else images)

    seen = taken.transpose(2, 0, 1) if is_last else taken
    found = occlude(seen, scores, index)
    return Explanation(
        heat=found.heat,
        index=found.index,
        name=card.names[found.index],
        probability=found.probability,
        patch=found.patch,
        runs=found.runs,
        seconds=time.perf_counter() - began,
        image=seen,
        value_range=card.value_range,
    )
