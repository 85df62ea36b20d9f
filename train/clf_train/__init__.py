"""The training side of clf-edge: labelled images in, a run folder out.

    from pathlib import Path
    from clf_train import find_recipe, read_source, train

    runs = train(read_source("digits"), {"conv": find_recipe("fast", "conv")}, Path("artifacts/digits"))
    print(runs[0].test.accuracy)

Importing the package loads neither numpy nor torch; the first use of a name does.
"""

from typing import TYPE_CHECKING

from clf_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from clf_train.data.dataset import Dataset, Split
    from clf_train.data.sources import read_source
    from clf_train.errors import DataError, RecipeError, RunError, TrainError
    from clf_train.models.recipe import Recipe
    from clf_train.models.registry import find_recipe
    from clf_train.runs.run import Run, read_run
    from clf_train.training import train

__all__ = [
    "DataError",
    "Dataset",
    "Recipe",
    "RecipeError",
    "Run",
    "RunError",
    "Split",
    "TrainError",
    "find_recipe",
    "read_run",
    "read_source",
    "train",
]

_HOME = {
    **dict.fromkeys(("Dataset", "Split"), "data.dataset"),
    **dict.fromkeys(("DataError", "RecipeError", "RunError", "TrainError"), "errors"),
    **dict.fromkeys(("Run", "read_run"), "runs.run"),
    "Recipe": "models.recipe",
    "find_recipe": "models.registry",
    "read_source": "data.sources",
    "train": "training",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME)
