"""What the user states about a model file without a card: its preprocessing and its class names."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from clf_runtime.bounded import read_bounded
from clf_runtime.errors import UsageError
from clf_runtime.model.names import MAX_NAMES_TEXT, names_fault

WORDS = (
    "range=LOW..HIGH, mean=A,B,C, std=A,B,C, names=FILE|A,B,C, layout=NCHW|NHWC, channels=RGB|BGR, "
    "output=logits|probabilities"
)
EXAMPLES = (
    "--assume range=0..1 for unnormalised values, --assume 'range=0..1 mean=0.485,0.456,0.406 std=0.229,0.224,0.225' "
    "for ImageNet's"
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "layout": ("NCHW", "NHWC"),
    "channels": ("RGB", "BGR"),
    "output": ("logits", "probabilities"),
}


@dataclass(frozen=True)
class Assumptions:
    """The preprocessing and outputs of a foreign model; None or empty means not stated.

    Images are scaled to `value_range`, then `mean` is subtracted and the result divided by `std`: one number for all
    channels or one per channel, in the units of that range and in the model's order of channels; without them values
    are not normalised. `layout` is that of the input, `channels` its order of channels (images are RGB), `output` what
    the model gives: logits get a softmax, probabilities do not.

    Raises UsageError, naming the field, for an invalid value.
    """

    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    layout: Literal["NCHW", "NHWC"] | None = None
    channels: Literal["RGB", "BGR"] = "RGB"
    output: Literal["logits", "probabilities"] | None = None

    def __post_init__(self) -> None:
        low_high = self.value_range
        if low_high is not None and not (_are_finite(low_high) and len(low_high) == 2 and low_high[0] < low_high[1]):
            raise UsageError(f"assume: range must be (low, high) with low < high, not {low_high}")
        if not (_are_finite(self.mean) and _are_finite(self.std) and all(s > 0 for s in self.std)):
            raise UsageError(f"assume: mean and std must be numbers, std positive, not {self.mean} and {self.std}")
        if fault := names_fault(self.names):
            raise UsageError(f"assume: {fault}")
        for field, possible in _CHOICES.items():
            value = getattr(self, field)
            if value not in possible and not (value is None and field != "channels"):
                raise UsageError(f"assume: {field} must be {' or '.join(possible)}, not {value!r}")


def _are_finite(values: object) -> bool:
    return isinstance(values, tuple) and all(type(v) in (int, float) and math.isfinite(v) for v in values)


def parse_assumptions(text: str) -> Assumptions:
    """Parse the value of `--assume`: items such as `range=0..1` separated by blanks, quoted if they contain blanks.

    `names` is a text file with one name per line, or comma-separated names. Raises UsageError for anything else.
    """
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--assume {text}: {error}") from None
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in (*_READERS, *_CHOICES):
            raise UsageError(f"--assume: unknown item {word[:60]!r}; valid are {WORDS}")
        field = "value_range" if key == "range" else key
        if field in found:
            raise UsageError(f"--assume: {key} is given twice")
        try:
            found[field] = _READERS[key](value) if key in _READERS else value
        except ValueError as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"--assume: invalid {key} in {word[:60]!r}; valid are {WORDS}") from None
    if not found:
        raise UsageError(f"--assume is empty; valid are {WORDS}")
    return Assumptions(**found)


def _read_numbers(value: str) -> tuple[float, ...]:
    return tuple(float(part) for part in value.split(","))


def _read_range(value: str) -> tuple[float, ...]:
    low, _, high = value.partition("..")
    return float(low), float(high)


def _read_names(value: str) -> tuple[str, ...]:
    if not os.path.isfile(value):
        if "," not in value:
            raise UsageError(
                f"--assume: names={value}: no such file; expected one with a name per line, or comma-separated names"
            )
        return tuple(name.strip() for name in value.split(","))
    try:
        data = read_bounded(value, MAX_NAMES_TEXT)
        text = None if data is None else data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--assume: names={value}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--assume: names={value}: not UTF-8 text with one name per line") from None
    if text is None:
        raise UsageError(f"--assume: names={value}: larger than {MAX_NAMES_TEXT >> 20} MiB")
    return tuple(name.strip() for name in text.rstrip().splitlines())


_READERS: dict[str, Callable[[str], Any]] = {
    "range": _read_range,
    "mean": _read_numbers,
    "std": _read_numbers,
    "names": _read_names,
}


def describe_assumptions(assumed: Assumptions) -> str:
    """The normalisation in words; empty if there is none."""
    parts = [
        f"{name} {' '.join(f'{v:g}' for v in values)}"
        for name, values in (("mean", assumed.mean), ("std", assumed.std))
        if values
    ]
    return " and ".join(parts)
