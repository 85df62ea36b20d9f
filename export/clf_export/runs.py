"""The runs of one export, looked at before the first of them is exported."""

from collections.abc import Sequence
from pathlib import Path

from clf_train.errors import RunError
from clf_train.models.registry import Model, is_own
from clf_train.runs.run import Run, load_net, read_run


def look_at_runs(folders: Sequence[Path], own: Sequence[Model] | None) -> list[Run]:
    """Read these run folders, and hold their nets to what was trained (see run.load_net).

    `own` names the user's own models, whose code is then imported; it may name others of the runs.
    Raises RunError if a folder is damaged or its net is another now, or if `own` lacks a model whose code is needed, or
    names one that no run is of.
    """
    runs = [read_run(folder) for folder in folders]
    for name in own or ():
        if all(run.model != name for run in runs):
            raise RunError(f"no run here is of the model {name!r}; they are of {', '.join(run.model for run in runs)}")
    needed = list(dict.fromkeys(run.model for run in runs if is_own(run.model)))
    if not set(needed) <= set(own or ()):
        code, first = ",".join(needed), next(f for f, run in zip(folders, runs, strict=True) if is_own(run.model))
        raise RunError(f"{first}: is of the model {needed[0]}; to import code of that name, pass --model {code}")
    for folder, run in zip(folders, runs, strict=True):
        load_net(folder, run, run.model if is_own(run.model) else None)
    return runs
