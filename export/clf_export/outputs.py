"""Where an export finds its images and puts its files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clf_export.errors import OutputError
from clf_runtime.datasets.class_names import are_numbers, place_names
from clf_train.data.dataset import Dataset, Split
from clf_train.data.sources import read_source
from clf_train.errors import DataError
from clf_train.runs.run import Run

_FEW = 10  # class names that are listed


def find_test_images(run: Run, data: str | None = None) -> tuple[Dataset, str | None]:
    """Read the images that a run was tested on: from `data`, or from where the run says they were.

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


def output_files(
    folders: Sequence[Path], out: Path | None, *, overwrite: bool = False, with_int8: bool = False
) -> list[Path]:
    """Where the files of these run folders go: beside each, to the `.onnx` file `out`, or into the folder `out`.

    Raises OutputError if `out` is one file for several runs, or a file, or its int8 file, is there already, unless
    `overwrite`; if `out` is there and neither a folder nor named `.onnx`, in any case.
    """
    if out is None:
        files = [folder.with_name(folder.name + ".onnx") for folder in folders]
    elif out.suffix.lower() == ".onnx" and not out.is_dir():
        if len(folders) > 1:
            raise OutputError(f"{out}: is one file, there are {len(folders)} models; give a folder as --out")
        files = [out]
    else:
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out}: is there already; choose a folder, or a name that ends in .onnx, as --out")
        files = [out / f"{folder.name}.onnx" for folder in folders]
    everything = [*files, *(int8_beside(file) for file in files if with_int8)]
    for file in everything:
        refuse_existing(file, overwrite=overwrite)
        if everything.count(file) > 1:
            raise OutputError(f"{file}: would be written for two models; export them one by one")
    return files


def refuse_existing(file: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a file is there already, unless it is one to `overwrite`."""
    try:
        if file.is_dir():
            raise OutputError(f"{file}: is a folder; choose another --out")
        if file.exists() and not overwrite:
            raise OutputError(f"{file}: is there already; choose another --out, or pass --overwrite")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from None


def int8_beside(file: Path) -> Path:
    """The name of the int8 file that belongs to a float32 file."""
    return file.with_name(f"{file.stem}.int8.onnx")
