"""Where an export finds its images and puts its files."""

from collections.abc import Sequence
from pathlib import Path

from clf_export.errors import OutputError
from clf_train.dataset import Dataset
from clf_train.errors import DataError
from clf_train.run import Run
from clf_train.sources import read_source


def find_test_images(run: Run, data: str | None = None) -> tuple[Dataset, str | None]:
    """Read the images that a run was tested on: from `data`, or from where the run says they were.

    Returns them and, if `data` holds other images than the run's, a sentence that says so. Raises DataError if the
    run's own place is gone or holds other images now (then `data` is asked for), or if `data` does not fit the run.
    """
    ask = "pass --data SOURCE with the images of the training"
    try:
        dataset = read_source(data or run.data.source, None)
    except DataError as error:
        if data is not None:
            raise
        raise DataError(f"the run's images are not to be had ({error}); {ask}") from None
    same = dataset.fingerprint == run.data.fingerprint
    if not same and data is None:
        raise DataError(f"{run.data.source}: holds other images than the run was trained on; {ask}")
    if (dataset.image_shape, dataset.dtype) != (run.image_shape, run.dtype) or len(dataset.names) != len(run.names):
        raise DataError(
            f"{data or run.data.source}: {dataset.dtype} images of {'x'.join(map(str, dataset.image_shape))} "
            f"in {len(dataset.names)} classes, the run has {run.dtype} {'x'.join(map(str, run.image_shape))} "
            f"in {len(run.names)}"
        )
    other = f"{data} holds other images than the run was trained on: the accuracies below are of these images"
    return dataset, None if same else other


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
