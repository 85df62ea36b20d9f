"""One export, from a run folder to a proven `.onnx` file: nothing is given its name before the proof."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from clf_export.errors import OutputError, ParityError
from clf_export.graph import build_graph
from clf_export.parity import Comparison, compare, for_card, run_onnx
from clf_runtime.card import ModelCard, to_metadata
from clf_train.dataset import Dataset
from clf_train.errors import DataError
from clf_train.evaluate import probabilities
from clf_train.files import whole_file
from clf_train.recipe import Model
from clf_train.run import Run, load_net, read_run
from clf_train.sources import read_source

_ALONE = 4  # images that are also answered one by one


@dataclass(frozen=True)
class Export:
    """A file that was written: where it is, its SHA-256 and size, its card, and how it was proven."""

    file: Path
    sha256: str
    size: int
    card: ModelCard
    comparison: Comparison


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


def export_run(
    folder: Path, dataset: Dataset, file: Path, *, overwrite: bool = False, own: Model | None = None
) -> Export:
    """Translate a run's net, prove it on all test images of `dataset`, and write `file` and the run's parity.json.

    `own` names the user's own model of the run, whose code is then imported (see run.load_net).
    The file appears whole under its name, after it was read back from disk and proven there, or not at all.
    Raises ParityError if the file's answers differ from PyTorch's by more than `parity.TOLERANCE`, RunError if the run
    is damaged, TranslationError if its net cannot be translated, OutputError if `file` is there or cannot be written.
    """
    if file.exists() and not overwrite:
        raise OutputError(f"{file}: is there already; choose another --out, or pass --overwrite")
    run = read_run(folder)
    net = load_net(folder, run, own)
    images, labels = dataset.test.images, dataset.test.labels
    reference = probabilities(net, images, run.normalisation, torch.device("cpu"), run.temperature)

    model = build_graph(net, run.normalisation, run.temperature, run.image_shape, run.dtype)
    comparison = prove(model.SerializeToString(), reference, images, labels)
    card = make_card(run, folder.name, comparison, dataset.fingerprint)
    onnx.helper.set_model_props(model, to_metadata(card))
    data = model.SerializeToString(deterministic=True)
    try:
        with whole_file(file) as partial:
            partial.write_bytes(data)
            prove(partial.read_bytes(), reference, images, labels)
            figures = {"file": file.name, **asdict(comparison), "data_fingerprint": dataset.fingerprint}
            with whole_file(folder / "parity.json") as partial_figures:
                partial_figures.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"{error.filename or file}: cannot be written: {error.strerror or error}") from None
    return Export(file, hashlib.sha256(data).hexdigest(), len(data), card, comparison)


def prove(model: bytes, reference: np.ndarray, images: np.ndarray, labels: np.ndarray) -> Comparison:
    """Compare a model's answers with reference probabilities. Raises ParityError if they do not agree.

    They are of many images at a time, as the reference is; a few images must be answered the same when each is alone.
    """
    comparison = compare(reference, run_onnx(model, images), labels)
    if not comparison.passed:
        raise ParityError(f"onnxruntime does not answer as PyTorch does, so no file is written: {comparison.problem()}")
    alone = compare(reference[:_ALONE], run_onnx(model, images[:_ALONE], batch=1), labels[:_ALONE])
    if not alone.passed:
        raise ParityError(
            "the net answers an image otherwise when it is alone than among others, so no file is written: "
            f"the largest difference of a probability is {alone.max_difference:.2e}"
        )
    return comparison


def make_card(run: Run, run_name: str, comparison: Comparison, data_fingerprint: str) -> ModelCard:
    """What the file says of itself: no place on this machine, the same whenever a run is exported."""
    share = 100 * run.test.accuracy
    return ModelCard(
        model=run.model,
        names=run.names,
        image_shape=run.image_shape,
        dtype=run.dtype,
        value_range=run.value_range,
        mean=run.normalisation.mean,
        std=run.normalisation.std,
        temperature=run.temperature,
        description=(
            f"{run.model}: {len(run.names)} classes, trained on {run.data.train_images:,} images ({run.data.layout}), "
            f"{share:.2f} % right on {run.data.test_images:,} test images"
        ),
        created=run.created,
        run=run_name,
        recipe=run.recipe.name,
        data=run.data.layout,
        data_fingerprint=run.data.fingerprint,
        parameters=run.parameters,
        test_images=run.test.images,
        test_accuracy=run.test.accuracy,
        parity=for_card(comparison, data_fingerprint),
    )


def output_files(folders: Sequence[Path], out: Path | None, *, overwrite: bool = False) -> list[Path]:
    """Where the files of these run folders go: beside each, or `out`, which for several (or if it is one) is a folder.

    Raises OutputError if one is there already, unless `overwrite`.
    """
    if out is None:
        files = [folder.with_name(folder.name + ".onnx") for folder in folders]
    elif len(folders) > 1 or out.is_dir():
        if len(folders) > 1 and (out.is_file() or out.suffix == ".onnx"):
            raise OutputError(f"{out}: is one file, there are {len(folders)} models; give a folder as --out")
        files = [out / f"{folder.name}.onnx" for folder in folders]
    else:
        files = [out]
    for file in files:
        if file.is_dir() or (file.exists() and not overwrite):
            raise OutputError(f"{file}: is there already; choose another --out, or pass --overwrite")
    return files
