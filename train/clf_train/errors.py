"""What can go wrong in a training, below the one root of clf-edge.

ClfError
└── TrainError                    the root of this package
    ├── DataError (ValueError)    a source of images is missing, damaged or invalid
    ├── RecipeError (ValueError)  a recipe has an invalid value
    ├── RunError (ValueError)     a run folder is missing, damaged or in the way
    ├── FactoryError (ValueError) a user's own model cannot be built or is invalid
    ├── Stopped (RuntimeError)    the training was asked to stop, and its state is saved
    └── ProcessLost (RuntimeError)  another process of the same training has died
"""

from clf_runtime.errors import ClfError


class TrainError(ClfError):
    """Root of every error that clf_train raises on purpose."""


class DataError(TrainError, ValueError):
    """A source of images is missing, damaged or invalid."""


class RecipeError(TrainError, ValueError):
    """A recipe has an invalid value."""


class RunError(TrainError, ValueError):
    """A run folder is missing, damaged, or in the way."""


class FactoryError(TrainError, ValueError):
    """A user's own model cannot be imported, built, or run on the images."""


class Stopped(TrainError, RuntimeError):  # noqa: N818 - it is what was asked for
    """A training was stopped, and has saved its state. `epoch`, from 1, is the one it was in."""

    def __init__(self, epoch: int, advice: str = "") -> None:
        super().__init__(f"stopped in epoch {epoch}{advice}")
        self.epoch = epoch


class ProcessLost(TrainError, RuntimeError):  # noqa: N818 - it says what happened
    """Another process of the same training has died, or cannot be reached."""
