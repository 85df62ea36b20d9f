"""What a training was asked for: made of a command's options, kept beside its state, and found again in its runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clf_train.dataset import Dataset
from clf_train.errors import DataError, RunError
from clf_train.recipe import Model, Recipe, is_own
from clf_train.records import read_record, write_record
from clf_train.run import Run

SCHEMA = 1
FILE = "plan.json"


@dataclass(frozen=True)
class Plan:
    """All that decides a training's results.

    `source` is a word or an absolute path, `names` and `fingerprint` are the dataset's, `recipes` one a model in the
    order of training, `device` is cpu or cuda, `threads` how many PyTorch uses in each of the `processes`.
    """

    schema: int
    source: str
    names: tuple[str, ...]
    fingerprint: str
    recipes: dict[Model, Recipe]
    seed: int
    device: str
    threads: int
    processes: int
    overwrite: bool = False
    tensorboard: bool = False


def write_plan(partial: Path, plan: Plan) -> None:
    """Write plan.json into a partial folder."""
    write_record(partial / FILE, plan)


def read_plan(partial: Path) -> Plan:
    """Read plan.json. Raises RunError if it is missing, damaged, or of another schema."""
    plan: Plan = read_record(Plan, partial / FILE, SCHEMA)
    return plan


def plan_like(runs: Sequence[Run]) -> Plan:
    """The plan that these runs, of one training, came from. Raises RunError if they are of several."""
    plans = [
        Plan(
            SCHEMA,
            run.data.source,
            run.names,
            run.data.fingerprint,
            {},
            run.seed,
            run.device.split()[0],
            run.threads,
            run.processes,
        )
        for run in runs
    ]
    if any(plan != plans[0] for plan in plans):
        raise RunError("the runs in this folder are of several trainings; name the folder of one of them")
    plans[0].recipes.update({run.model: run.recipe for run in runs})
    return plans[0]


def check_plan(plan: Plan, dataset: Dataset, processes: int, own: Sequence[Model]) -> None:
    """Hold a plan that was read against the images and processes there are, and the user's models that may be imported.

    Raises DataError or RunError, saying what differs and what to do.
    """
    if dataset.fingerprint != plan.fingerprint:
        raise DataError(f"{dataset.source}: holds other images than the training had; pass --data SOURCE with those")
    if processes != plan.processes:
        raise RunError(f"the training had {plan.processes} processes, not {processes}: start as many with torchrun")
    for model in plan.recipes:
        if is_own(model) and model not in own:
            raise RunError(f"it is of the model {model}; to import the code of that name, pass --model {model}")
