"""The options that go back to an earlier training, --resume and --like, and what cannot be combined with them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clf_train.errors import RecipeError
from clf_train.models.recipe import LEAST_FOLDS, MOST_FOLDS
from clf_train.models.registry import Model, is_own

if TYPE_CHECKING:
    from clf_train.runs.plan import Plan

_BESIDE = {"resume": {"data", "model", "quiet"}, "like": {"data", "model", "out", "overwrite", "tensorboard", "quiet"}}
_NOT_IN_FOLDS = {
    "validation_share": "the folds choose epoch and temperature",
    "patience": "each fold is trained to the end",
    "show": "it trains nothing",
}
_NOT_WITH_OPEN_SET = {
    "init": "the weights it begins with may know the classes that are left out",
    "show": "it trains nothing",
}


def refuse_combinations(given: set[str], folds: int | None, open_set: int | None = None) -> None:
    """Raise RecipeError for options that are `given` and exclude one another, or numbers that are none."""
    for again in _BESIDE.keys() & given:
        for name in sorted(given - {again} - _BESIDE[again]):
            beside = ", ".join(f"--{n}" for n in sorted(_BESIDE[again]))
            raise RecipeError(f"{_option(name)} cannot be combined with --{again}; these can: {beside}")
    if open_set is not None:
        if open_set < 1:
            raise RecipeError(f"--open-set must be 1 or more classes at a time, not {open_set}")
        for name in _NOT_WITH_OPEN_SET.keys() & given:
            raise RecipeError(f"{_option(name)} cannot be combined with --open-set: {_NOT_WITH_OPEN_SET[name]}")
    if folds is None:
        return
    if not LEAST_FOLDS <= folds <= MOST_FOLDS:
        raise RecipeError(f"--folds must be {LEAST_FOLDS} to {MOST_FOLDS}, not {folds}")
    for name in _NOT_IN_FOLDS.keys() & given:
        raise RecipeError(f"{_option(name)} cannot be combined with --folds: {_NOT_IN_FOLDS[name]}")


def plan_to_resume(resume: Path) -> "tuple[Plan, Path]":
    """The plan of a stopped training, and the run folder that it was to make. Raises RunError if there is none."""
    from clf_train.runs.folder import partial_of, refuse_nothing
    from clf_train.runs.plan import read_plan

    out = resume if resume.name and not resume.name.endswith(".partial") else resume.resolve()
    out = out.with_name(out.name.removesuffix(".partial"))
    refuse_nothing(out.resolve())
    return read_plan(partial_of(out.resolve())), out


def plan_to_repeat(like: Path, own: Sequence[Model], note: Callable[[str], object]) -> "Plan":
    """The plan of a finished training, whose nets must be those that were trained.

    `own` are the models that the user named, whose code may be imported. `note` is called with what cannot be checked.
    Raises RunError if the runs are damaged, or a net is another now.
    """
    from clf_train.runs.plan import check_models, plan_like
    from clf_train.runs.run import find_runs, load_net, read_run

    runs = {folder: read_run(folder) for folder in find_runs(like)}
    plan = plan_like(list(runs.values()))
    check_models(plan, own)
    for folder, run in runs.items():
        load_net(folder, run, run.model if is_own(run.model) else None)
        if run.probe_sha256 is None:
            note(f"{folder}: is of an earlier clf-edge, without a probe: its code may have changed since")
    return plan


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
