"""What an export reads: the runs, and the images that they were tested on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clf_runtime.datasets.class_names import are_numbers, place_names
from clf_runtime.datasets.folders import NO_CLASS
from clf_train.data.dataset import Dataset, Split
from clf_train.data.sources import read_source
from clf_train.errors import DataError, RunError
from clf_train.models.registry import Model, is_own
from clf_train.runs.run import Run, load_net, read_run

_FEW = 10  # class names that are listed


def read_runs(folders: Sequence[Path], own: Sequence[Model] | None) -> list[Run]:
    """Read these run folders, and check that each net is the one that was trained (see run.load_net).

    `own` names the user's own models, whose code is then imported.
    Raises RunError if a folder is damaged or its net has changed, if `own` lacks a model whose code is needed, or if it
    names a model of no run.
    """
    runs = [read_run(folder) for folder in folders]
    for name in own or ():
        if all(run.model != name for run in runs):
            raise RunError(f"no run here is of the model {name!r}, only of {', '.join(run.model for run in runs)}")
    needed = list(dict.fromkeys(run.model for run in runs if is_own(run.model)))
    if not set(needed) <= set(own or ()):
        code, first = ",".join(needed), next(f for f, run in zip(folders, runs, strict=True) if is_own(run.model))
        raise RunError(f"{first}: is of your own model {needed[0]}; to import its code, pass --model {code}")
    for folder, run in zip(folders, runs, strict=True):
        load_net(folder, run, run.model if is_own(run.model) else None)
    return runs


def find_test_images(
    run: Run, data: str | None = None, watch: Callable[[str], object] = lambda text: None
) -> tuple[Dataset, str | None]:
    """Read the images that a run was tested on: from `data`, or from the source that the run records.

    `watch` is called with how far the reading of pictures is, in words.
    Returns them and, if `data` holds other images than the run's, a note that says so. Their labels are then matched by
    class name, or by index where the run or the source has no names.
    Raises DataError if the recorded source is missing or has changed (the message asks for `data`), or if `data` does
    not fit the run: the shape or dtype of its images, the number of its classes, or their names.
    """
    ask = "pass --data SOURCE with the training images"
    try:
        dataset = read_source(
            data or run.data.source,
            size=run.image_shape[1:],
            geometry=run.geometry,
            skip_bad=bool(run.data.skipped),
            as_before=run.data.as_before,
            watch=watch,
            undivided=run.folds is not None,
            none_is_class=NO_CLASS in run.names,
            outliers=True,
        )
    except DataError as error:
        if data is not None:
            raise
        raise DataError(f"the images of the run cannot be read ({error}); {ask}") from None
    same = dataset.fingerprint == run.data.fingerprint
    if not same and data is None:
        raise DataError(f"{run.data.source}: does not hold the images that the run was trained on; {ask}")
    if (dataset.image_shape, dataset.dtype) != (run.image_shape, run.dtype) or len(dataset.names) != len(run.names):
        raise DataError(
            f"{data or run.data.source}: {dataset.dtype} images of {'x'.join(map(str, dataset.image_shape))} "
            f"in {len(dataset.names)} classes, but the run has {run.dtype} {'x'.join(map(str, run.image_shape))} "
            f"in {len(run.names)}"
        )
    if same:  # the labels are the run's, whatever the classes are called now
        return dataset, None
    other = f"{data} holds other images than the run was trained on: the accuracies below are for these"
    places, missing = place_names(dataset.names, run.names)
    if places is not None:
        return _relabelled(dataset, places, run.names), other
    if are_numbers(dataset.names) or are_numbers(run.names):
        whose = "it" if are_numbers(dataset.names) else "the run"
        return dataset, f"{other}, and {whose} has no class names: labels are matched by index"
    few = ", ".join(run.names[:_FEW]) + ", ..." * (len(run.names) > _FEW)
    raise DataError(f"{data}: {missing!r} is not a class of the run ({few}); rename the classes of the source")


def _relabelled(dataset: Dataset, places: np.ndarray, names: tuple[str, ...]) -> Dataset:
    """The same images with labels that index `names`: `places` maps each class of the data to its index there."""
    train, test = (Split(part.images, places[part.labels]) for part in (dataset.train, dataset.test))
    return replace(dataset, train=train, test=test, names=names)
