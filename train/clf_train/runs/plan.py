"""The plan of a training: made from a command's options, saved beside its state, and recovered from its runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clf_runtime.model.geometry import UNSTATED, Geometry
from clf_train.data.dataset import Dataset
from clf_train.errors import DataError, RunError
from clf_train.models.recipe import Recipe
from clf_train.models.registry import MODELS, Model, is_own
from clf_train.runs.records import read_record, write_record
from clf_train.runs.run import Init, Run, complete_recipe

SCHEMA = 6
FILE = "plan.json"


def _upgrade(raw: dict[str, Any]) -> dict[str, Any]:
    """A plan of schema 3 as one of this: all pictures had one size."""
    how = {"size": None, "geometry": asdict(UNSTATED), "skip_bad": False, "as_before": True}
    return _upgrade_5({**raw, **how, "init": None, "folds": 0, "open_set": 0})


def _upgrade_4(raw: dict[str, Any]) -> dict[str, Any]:
    """A plan of schema 4 as one of this: no class is left out."""
    return _upgrade_5({**raw, "open_set": 0})


def _upgrade_5(raw: dict[str, Any]) -> dict[str, Any]:
    """A plan of schema 5 as one of this: no first layer is computed from the images."""
    recipes = raw.get("recipes")
    if isinstance(recipes, dict):
        recipes = {model: complete_recipe(recipe) for model, recipe in recipes.items()}
    return {**raw, "recipes": recipes}


_OLDER = {3: _upgrade, 4: _upgrade_4, 5: _upgrade_5}


@dataclass(frozen=True)
class Plan:
    """Everything that determines a training's results.

    `source` is a word or an absolute path, `names` and `fingerprint` are the dataset's, `recipes` has one per model in
    the order of training, `device` is cpu or cuda, `threads` is the number of PyTorch threads in each of the
    `processes`. `size` (height, width), `geometry`, `skip_bad` and `as_before` say how the source was read: see
    read_source. `init` is the run whose weights the training starts from, if any, and `folds` the number of folds of
    its cross-validation, 0 for none. `open_set` is how many classes are left out at a time once it is trained, to
    measure whether new ones are noticed; 0: that is not measured.
    """

    schema: int
    source: str
    names: tuple[str, ...]
    fingerprint: str
    size: tuple[int, int] | None
    geometry: Geometry
    recipes: dict[Model, Recipe]
    seed: int
    device: str
    threads: int
    processes: int
    overwrite: bool = False
    tensorboard: bool = False
    skip_bad: bool = False
    as_before: bool = False
    init: Init | None = None
    folds: int = 0
    open_set: int = 0

    def __post_init__(self) -> None:
        if not (1 <= self.threads <= 4096 and 1 <= self.processes <= 1 << 20 and 0 <= self.seed < 1 << 32):
            raise ValueError("threads, processes or seed is invalid")
        if self.device not in ("cpu", "cuda") or not self.recipes:
            raise ValueError(f"device is {self.device!r}, and there are {len(self.recipes)} recipes")
        for model in self.recipes:
            if model not in MODELS and not is_own(model):
                raise ValueError(f"a model is {model!r}")


def write_plan(partial: Path, plan: Plan) -> None:
    """Write plan.json into a partial folder."""
    write_record(partial / FILE, plan)


def read_plan(partial: Path) -> Plan:
    """Read plan.json. Raises RunError if it is missing, damaged, or of another schema."""
    plan: Plan = read_record(Plan, partial / FILE, SCHEMA, _OLDER)
    return plan


def plan_like(runs: Sequence[Run]) -> Plan:
    """The plan of the training that these runs came from. Raises RunError if they are of several trainings."""
    first = runs[0]
    for run in runs:
        for field in ("names", "seed", "device", "threads", "processes", "init"):
            if getattr(run, field) != getattr(first, field) or run.data.fingerprint != first.data.fingerprint:
                raise RunError("the runs in this folder are of several trainings; pass the folder of one of them")
    device = "cuda" if first.device.startswith("cuda") else "cpu"
    recipes = {run.model: run.recipe for run in runs}
    data = first.data
    try:
        return Plan(
            SCHEMA,
            data.source,
            first.names,
            data.fingerprint,
            (first.image_shape[1], first.image_shape[2]),
            first.geometry,
            recipes,
            first.seed,
            device,
            first.threads,
            first.processes,
            skip_bad=bool(data.skipped),
            as_before=data.as_before,
            init=first.init,
            folds=0 if first.folds is None else len(first.folds.images),
            open_set=0 if first.open_set is None else first.open_set.at_once,
        )
    except ValueError as error:
        raise RunError(f"the run cannot be repeated: {error}") from None


def check_plan(plan: Plan, dataset: Dataset, processes: int) -> None:
    """Compare a plan that was read with the given images and processes.

    Raises DataError or RunError, saying what differs and what to do.
    """
    if dataset.fingerprint != plan.fingerprint:
        raise DataError(f"{dataset.source}: does not hold the images of the training; pass --data SOURCE with those")
    if processes != plan.processes:
        raise RunError(f"the training had {plan.processes} processes, not {processes}; start as many with torchrun")


def check_models(plan: Plan, own: Sequence[Model]) -> None:
    """Compare a plan that was read with the models that were named, whose code may then be imported.

    Raises RunError if one is not of this training, or if a user's own model of the plan was not named.
    """
    for model in own:
        if model not in plan.recipes:
            raise RunError(f"the training is of {', '.join(plan.recipes)}, not of {model}")
    needed = [model for model in plan.recipes if is_own(model)]
    if not set(needed) <= set(own):
        all_of_them = ",".join(needed)
        raise RunError(f"it is of your own model {all_of_them}; to import its code, pass --model {all_of_them}")
