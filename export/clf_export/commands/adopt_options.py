"""The options by which clf-export adopts a foreign .onnx file, and what they say, as Stated."""

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clf_runtime.errors import UsageError

if TYPE_CHECKING:
    from clf_export.adoption.stated import Stated

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"

OnnxOption = Annotated[
    Path | None,
    typer.Option(
        "--onnx",
        metavar="FILE",
        help="Instead of RUN: a classifier's .onnx file from another program, made into a clf-edge model and compared "
        "with the original on the pictures of --data. The options below state what its file does not say.",
    ),
]
NamesOption = Annotated[
    str | None,
    typer.Option(
        "--names",
        metavar="FILE|A,B,C",
        help="With --onnx: the classes in the order of its output, one per line of a file, or comma-separated.",
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option("--image-size", metavar="N|HxW", help="With --onnx: the size of its images, in pixels."),
]
RangeOption = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW..HIGH",
        help="With --onnx: what pixels are scaled to before the mean is subtracted: 0..1, 0..255 or -1..1.",
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="A[,B,C]",
        help="With --onnx: what is subtracted, in units of --range, in its order of channels; 0 for nothing.",
    ),
]
StdOption = Annotated[
    str | None,
    typer.Option(
        "--std",
        metavar="A[,B,C]",
        help="With --onnx: what the result is divided by, in units of --range; 1 for nothing.",
    ),
]
BgrOption = Annotated[bool, typer.Option("--bgr", help="With --onnx: its channels are blue, green, red.")]
NhwcOption = Annotated[bool, typer.Option("--nhwc", help="With --onnx: its images are height x width x channels.")]
LogitsOption = Annotated[
    bool,
    typer.Option("--logits", help="With --onnx: its outputs are logits: a softmax is added."),
]
OutputOption = Annotated[
    str | None,
    typer.Option("--output", metavar="NAME", help="With --onnx: the output with the scores, of several."),
]
FitOption = Annotated[
    Literal["stretch", "pad", "crop"] | None,
    typer.Option(
        "--fit",
        help="With --onnx: how a picture of another size becomes an image of the model's.",
    ),
]
BackgroundOption = Annotated[
    str | None,
    typer.Option(
        "--background",
        metavar="COLOUR",
        help="With --onnx and --fit: the colour of bars, and under transparency: #rrggbb, white, black or grey.  "
        "[default: white]",
    ),
]


@dataclass(frozen=True)
class Said:
    """The options about a foreign file as they were given; None or False if not."""

    names: str | None
    image_size: str | None
    range: str | None
    mean: str | None
    std: str | None
    bgr: bool
    nhwc: bool
    logits: bool
    output: str | None
    fit: Literal["stretch", "pad", "crop"] | None
    background: str | None

    def refuse_any(self) -> None:
        """Raise UsageError if one was given: they are for --onnx."""
        for field in fields(self):
            if getattr(self, field.name) not in (None, False):
                raise UsageError(f"--{field.name.replace('_', '-')} is for a foreign file: pass --onnx FILE")

    def stated(self) -> "Stated":
        """What they say. Raises UsageError, or RecipeError, for one that cannot be read, AdoptionError for nonsense."""
        from clf_export.adoption.stated import Stated
        from clf_runtime.model.geometry import Geometry
        from clf_train.commands.geometry import parse_colour, parse_size

        if self.background is not None and self.fit is None:
            raise UsageError("--background is for pictures of another size: pass --fit too")
        return Stated(
            names=_names(self.names),
            image_size=parse_size(self.image_size),
            value_range=_range(self.range),
            mean=_numbers("--mean", self.mean),
            std=_numbers("--std", self.std),
            channels="BGR" if self.bgr else "RGB",
            layout="NHWC" if self.nhwc else "NCHW",
            logits=self.logits,
            output=self.output,
            geometry=None if self.fit is None else Geometry(self.fit, parse_colour(self.background or "white")),
        )


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    found = re.fullmatch(rf"({_NUMBER})\.\.({_NUMBER})", text.strip().lower())
    if found is None:
        raise UsageError(f"--range {text}: give LOW..HIGH, such as 0..1 or 0..255")
    return float(found[1]), float(found[2])


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    parts = [part.strip().lower() for part in text.split(",")]
    if not all(re.fullmatch(_NUMBER, part) for part in parts):
        raise UsageError(f"{option} {text}: give one number, or one per channel, such as 0.485,0.456,0.406")
    return tuple(map(float, parts))


def _names(text: str | None) -> tuple[str, ...]:
    from clf_runtime.datasets.class_names import read_names

    if text is None:
        return ()
    if os.path.isfile(text):  # unlike Path.is_file it accepts a string that is too long for a path
        return read_names(Path(text))
    if "," not in text:
        raise UsageError(f"--names {text}: no such file; pass a file with one name per line, or comma-separated names")
    return tuple(name.strip() for name in text.split(","))
