"""What an export reads: the runs, and the images that they were tested on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clf_runtime.datasets.class_names import are_numbers, place_names
from clf_train.data.dataset import Dataset, Split
from clf_train.data.sources import read_source
from clf_train.errors import DataError, RunError
from clf_train.models.registry import Model, is_own
from clf_train.runs.run import Run, load_net, read_run

_FEW = 10  # class names that are listed


def read_runs(folders: Sequence[Path], own: Sequence[Model] | None) -> list[Run]:
    """Read these run folders, and check that each net is the one that was trained (see run.load_net).

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


def find_test_images(
    run: Run, data: str | None = None, watch: Callable[[str], object] = lambda text: None
) -> tuple[Dataset, str | None]:
    """Read the images that a run was tested on: from `data`, or from where the run says they were.

    `watch` is told how far the reading of pictures is, in words.
    Returns them and, if `data` holds other images than the run's, a sentence that says so. Their labels then count by
    the run's names, whatever the order of the source's; by their numbers where the run or the source has no names.
    Raises DataError if the run's own place is gone or holds other images now (then `data` is asked for), or if `data`
    does not fit the run: its images, the number of its classes, or their names.
    """
    ask = "pass --data SOURCE with the images of the training"
    try:
        dataset = read_source(
            data or run.data.source,
            size=run.image_shape[1:],
            geometry=run.geometry,
            skip_bad=bool(run.data.skipped),
            as_before=run.data.as_before,
            watch=watch,
        )
    except DataError as error:
        if data is not None:
            raise
        raise DataError(f"the run's images cannot be read ({error}); {ask}") from None
    same = dataset.fingerprint == run.data.fingerprint
    if not same and data is None:
        raise DataError(f"{run.data.source}: holds other images than the run was trained on; {ask}")
    if (dataset.image_shape, dataset.dtype) != (run.image_shape, run.dtype) or len(dataset.names) != len(run.names):
        raise DataError(
            f"{data or run.data.source}: {dataset.dtype} images of {'x'.join(map(str, dataset.image_shape))} "
            f"in {len(dataset.names)} classes, the run has {run.dtype} {'x'.join(map(str, run.image_shape))} "
            f"in {len(run.names)}"
        )
    if same:  # the labels count as they did, whatever the classes are called now
        return dataset, None
    other = f"{data} holds other images than the run was trained on: the accuracies below are of these images"
    places, missing = place_names(dataset.names, run.names)
    if places is not None:
        return _relabelled(dataset, places, run.names), other
    if are_numbers(dataset.names) or are_numbers(run.names):
        whose = "it" if are_numbers(dataset.names) else "the run"
        return dataset, f"{other}, and {whose} has no class names: labels are taken by their numbers"
    few = ", ".join(run.names[:_FEW]) + ", ..." * (len(run.names) > _FEW)
    raise DataError(f"{data}: {missing!r} is no class of the run, which knows {few}; give the source the run's names")


def _relabelled(dataset: Dataset, places: np.ndarray, names: tuple[str, ...]) -> Dataset:
    """The same images, whose labels count by other names: `places` says where each class of the data is in them."""
    train, test = (Split(part.images, places[part.labels]) for part in (dataset.train, dataset.test))
    return replace(dataset, train=train, test=test, names=names)
