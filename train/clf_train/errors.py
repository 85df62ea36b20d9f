"""What can go wrong in a training, below the one root of clf-edge.

ClfError
└── TrainError                    the root of this package
    ├── DataError (ValueError)    a source is not what it should be
    ├── RecipeError (ValueError)  a recipe holds an impossible value
    └── RunError (ValueError)     a run folder is missing, damaged or in the way
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
