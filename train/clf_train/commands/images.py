"""Reading the images of a training: as an earlier one did, or as options and the size of the pictures ask for."""

from collections.abc import Callable
from pathlib import Path

from clf_runtime.datasets.folders import NO_CLASS
from clf_runtime.model.geometry import Geometry
from clf_train.data.dataset import Dataset
from clf_train.data.sources import read_source, typical_size
from clf_train.models.defaults import SMALL, default_model, default_size
from clf_train.models.recipe import Recipe
from clf_train.models.registry import Model
from clf_train.runs.plan import Plan
from clf_train.runs.run import Init, read_run

Watch = Callable[[str], object]


def read_as_planned(place: str, plan: Plan, watch: Watch) -> Dataset:
    """Read the images as the training of a plan did. Raises DataError as `read_source` does."""
    return read_source(
        place,
        plan.names,
        size=plan.size,
        geometry=plan.geometry,
        skip_bad=plan.skip_bad,
        as_before=plan.as_before,
        none_is_class=NO_CLASS in plan.names,
        watch=watch,
        undivided=bool(plan.folds),
    )


def choose_by_size(place: str, size: tuple[int, int] | None, recipe: str) -> tuple[tuple[Model, ...], str]:
    """The models to train if none is named: those for images of this size, or of that of the source, and a note."""
    chosen, said = default_model(size or typical_size(place)[0], recipe)
    return (chosen,) if chosen is not None else SMALL, said


def read_for(
    place: str,
    names: str | None,
    recipes: dict[Model, Recipe],
    init: Init | None,
    size: tuple[int, int] | None,
    geometry: Geometry,
    watch: Watch,
    *,
    skip_bad: bool,
    undivided: bool,
) -> Dataset:
    """Read the images for these recipes; without a `size` pictures get that of the run `init`, or the models' own.

    Raises DataError as `read_source` does.
    """
    if size is None and typical_size(place)[1]:
        size = default_size(recipes) if init is None else read_run(Path(init.folder)).image_shape[1:]
    return read_source(place, names, size=size, geometry=geometry, skip_bad=skip_bad, watch=watch, undivided=undivided)
