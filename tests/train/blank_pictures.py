"""Trainings that draw no pictures: drawing takes most of the time of a training on few images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from clf_train.commands import show
from clf_train.report import explained, plots


def _blank(*arguments: object) -> None:
    file = arguments[-1]
    assert isinstance(file, Path)
    Image.new("L", (1, 1)).save(file, "PNG")


@contextmanager
def blank_pictures() -> Iterator[None]:
    """Make each picture of a run, and each sheet of samples, a PNG of one pixel."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_curves", "save_reliability", "save_confusion", "save_confused", "save_suspects"):
            patch.setattr(plots, name, _blank)
        patch.setattr(explained, "save_explained", _blank)
        patch.setattr(show, "save_sheet", _blank)
        yield
