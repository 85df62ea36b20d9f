"""What a delivery to another tool consists of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clf_export.delivery.original import Original


def as_they_are(values: np.ndarray) -> np.ndarray:
    """The same values."""
    return values


@dataclass(frozen=True)
class Written:
    """A delivery that was written, and how onnxruntime proves it.

    `model` is the ONNX graph in it, or that it was converted from, `feed` makes its input of the golden images, and
    `read` probabilities [N, K] of its first output. `lines` is what the user should know.
    """

    model: bytes
    feed: Callable[[np.ndarray], np.ndarray] = as_they_are
    read: Callable[[np.ndarray], np.ndarray] = as_they_are
    lines: tuple[str, ...] = ()
    alone: bool = False  # whether the graph takes one image at a time


@dataclass(frozen=True)
class Tool:
    """Another program, and how a file is handed to it.

    `write` writes the delivery to a path: a folder that is there already, or for tools that take a file (`suffix`, with
    a dot) that file. `package` is installed from PyPI and has a `module`, or without one from npm; `trial` is the
    script in `trials/` that runs the tool itself. A tool that `converts` is needed for writing, others prove only.
    """

    name: str
    package: str
    about: str
    suffix: str
    write: Callable[[Original, Path], Written]
    module: str
    trial: str
    converts: bool = False
    calibrates: bool = False  # on images of the user, if there are any
    tolerance: float | None = None  # of a probability, where the tool computes less exactly than the file's

    @property
    def folder(self) -> bool:
        """Whether the delivery is a folder."""
        return not self.suffix
