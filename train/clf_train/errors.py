"""What can go wrong in a training, below the one root of clf-edge.

ClfError
└── TrainError                    the root of this package
    ├── DataError (ValueError)    a source is not what it should be
    ├── RecipeError (ValueError)  a recipe holds an impossible value
    ├── RunError (ValueError)     a run folder is missing, damaged or in the way
    ├── FactoryError (ValueError) a user's own model cannot be made or is not what it should be
    ├── Stopped (RuntimeError)    the training was asked to stop, and its state is saved
    └── ProcessLost (RuntimeError)  another process of the same training is gone
"""

from clf_runtime.errors import ClfError


class TrainError(ClfError):
    """Root of every error that clf_train raises on purpose."""


class DataError(TrainError, ValueError):
    """A source of images is missing, damaged, or not what it should be."""


class RecipeError(TrainError, ValueError):
    """A recipe holds a value that is impossible."""


class RunError(TrainError, ValueError):
    """A run folder is missing, damaged, or in the way."""


class FactoryError(TrainError, ValueError):
    """A user's own model cannot be imported, made, or run on the images."""


class Stopped(TrainError, RuntimeError):  # noqa: N818 - it is what was asked for
    """A training was asked to stop, and has saved its state. `epoch`, from 1, is the one it was in."""

    def __init__(self, epoch: int, advice: str = "") -> None:
        super().__init__(f"stopped in epoch {epoch}{advice}")
        self.epoch = epoch


class ProcessLost(TrainError, RuntimeError):  # noqa: N818 - it says what happened
    """Another process of the same training is gone, or cannot be reached."""
