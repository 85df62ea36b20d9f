"""What the user states about a foreign classifier: its file says nothing of how its inputs are made of pixels."""

import math
from dataclasses import dataclass
from typing import Literal

from clf_export.errors import AdoptionError
from clf_runtime.model.geometry import Geometry
from clf_runtime.model.names import names_fault

_NO_PIXEL_MEAN = 1.0  # a mean below it, not 0, is in units of 0..1


@dataclass(frozen=True)
class Stated:
    """The preprocessing and the output of a foreign classifier; None or empty means not stated.

    Pixels are scaled to `value_range`, then `mean` is subtracted and the result divided by `std`: one number for all
    channels or one per channel, in the units of that range and in the model's order of channels. `image_size` is
    (height, width). `names` are the classes, in the order of the output; for an output of one number, the probability
    of the second class or its logit, they are two. `logits` says that a softmax (for one number a sigmoid) is missing.
    `output` is the name of the output with the scores, needed where several may be it. `geometry` says how pictures of
    another size become images; without it they must have the model's.

    Raises AdoptionError for a value that is invalid, or contradicts another.
    """

    names: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: Literal["RGB", "BGR"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    logits: bool = False
    output: str | None = None
    geometry: Geometry | None = None

    def __post_init__(self) -> None:
        if fault := names_fault(self.names):
            raise AdoptionError(f"--names: {fault}")
        if len(self.names) == 1:
            raise AdoptionError(f"--names: a classifier has two classes or more, not only {self.names[0]!r}")
        for option, values in (("--mean", self.mean), ("--std", self.std), ("--range", self.value_range or ())):
            if not all(math.isfinite(value) for value in values):
                raise AdoptionError(f"{option} must be finite numbers, not {_numbers(values)}")
        if not all(value > 0 for value in self.std):
            raise AdoptionError(f"--std must be positive, not {_numbers(self.std)}")
        if self.value_range is None:
            return
        low, high = self.value_range
        if not low < high:
            raise AdoptionError(f"--range must be LOW..HIGH with LOW below HIGH, not {low:g}..{high:g}")
        units = f"--range {low:g}..{high:g}: mean and std are in the units of the range"
        if not all(low <= value <= high for value in self.mean):
            raise AdoptionError(f"--mean {_numbers(self.mean)} lies outside of {units}")
        if (low, high) == (0, 255) and any(self.mean) and max(self.mean) < _NO_PIXEL_MEAN:
            raise AdoptionError(f"--mean {_numbers(self.mean)} looks like units of 0..1, but there is {units}")

    def words(self) -> str:
        """The preprocessing in words."""
        parts: list[str] = [self.layout]
        if self.value_range is not None:
            parts.append("scaled to {:g}..{:g}".format(*self.value_range))
        parts += [f"{what} {_numbers(values)}" for what, values in (("mean", self.mean), ("std", self.std)) if values]
        return ", ".join([*parts, *["BGR"] * (self.channels == "BGR"), *["softmax added"] * self.logits])


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
