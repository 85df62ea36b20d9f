"""One export, from a run folder to a proven `.onnx` file: nothing is given its name before the proof."""

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from clf_export.errors import OutputError, ParityError
from clf_export.golden import choose_cases, make_golden, unnoticed_damage
from clf_export.graph import build_graph
from clf_export.proof import Evidence, Proof, for_card, prove
from clf_runtime.card import Golden, ModelCard, Parity
from clf_runtime.classifier import Classifier
from clf_runtime.golden import self_test
from clf_runtime.metadata import to_metadata
from clf_train.dataset import Dataset
from clf_train.errors import DataError
from clf_train.evaluate import probabilities
from clf_train.files import whole_file
from clf_train.recipe import Model
from clf_train.run import Run, load_net, read_run
from clf_train.sources import read_source


@dataclass(frozen=True)
class Export:
    """A file that was written: where it is, its SHA-256 and size in bytes, its card, and how it was proven.

    Of `damages` to its weights its self-test missed those `unnoticed`.
    """

    file: Path
    sha256: str
    size: int
    card: ModelCard
    proof: Proof
    damages: int
    unnoticed: tuple[str, ...]


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
    folder: Path,
    dataset: Dataset,
    file: Path,
    *,
    overwrite: bool = False,
    own: Model | None = None,
    license: str = "",
    keep_rejected: bool = False,
) -> Export:
    """Translate a run's net, prove it on all test images of `dataset`, and write `file` and the run's parity.json.

    `own` names the user's own model of the run, whose code is then imported (see run.load_net); `license` goes into the
    card. The file appears whole under its name, after it was read back from disk and proven there, or not at all; with
    `keep_rejected` one that fails is kept as `<name>.rejected.onnx`, without a card, to be looked at.
    Raises ParityError if the file's answers differ from PyTorch's by more than `parity.TOLERANCE`, or it does not pass
    its own self-test; RunError if the run is damaged, TranslationError if its net cannot be translated, OutputError if
    `file` is there or cannot be written.
    """
    if file.exists() and not overwrite:
        raise OutputError(f"{file}: is there already; choose another --out, or pass --overwrite")
    run = read_run(folder)
    net = load_net(folder, run, own)
    evidence = gather(run, net, dataset)
    # of a copy: what is translated has no way to change what it is held to
    model = build_graph(copy.deepcopy(net), run.normalisation, run.temperature, run.image_shape, run.dtype)
    with _keeping(model.SerializeToString(), file if keep_rejected else None):
        proof = prove(model.SerializeToString(), evidence, run.names)
        golden = make_golden(model.SerializeToString(), golden_of(evidence))
        parity = for_card(proof, dataset.fingerprint)
        card = make_card(run, folder.name, parity=parity, golden=golden, license=license)
        onnx.helper.set_model_props(model, to_metadata(card))
        data = model.SerializeToString(deterministic=True)
        figures = {"file": file.name, **asdict(proof), "data_fingerprint": dataset.fingerprint}
        try:
            with whole_file(file) as partial:
                partial.write_bytes(data)
                prove(partial.read_bytes(), evidence, run.names)
                unnoticed, damages = prove_self_test(partial, card)
                with whole_file(folder / "parity.json") as partial_figures:
                    partial_figures.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        except OSError as error:
            raise OutputError(f"{error.filename or file}: cannot be written: {error.strerror or error}") from None
    return Export(file, hashlib.sha256(data).hexdigest(), len(data), card, proof, damages, unnoticed)


@contextmanager
def _keeping(model: bytes, file: Path | None) -> Iterator[None]:
    """Write a model that is refused beside where `file` would have been."""
    try:
        yield
    except ParityError as error:
        if file is None:
            raise
        rejected = file.with_name(f"{file.stem}.rejected.onnx")
        try:
            with whole_file(rejected) as partial:
                partial.write_bytes(model)
        except OSError as failed:
            raise OutputError(f"{rejected}: cannot be written: {failed.strerror or failed}") from None
        raise ParityError(f"{error}; it is kept as {rejected}", error.table) from None


def gather(run: Run, net: nn.Module, dataset: Dataset) -> Evidence:
    """What the file of a run is held to: its net's answers, on the CPU, by the path that testing took."""

    def answer(images: np.ndarray) -> np.ndarray:
        return probabilities(net, images, run.normalisation, torch.device("cpu"), run.temperature)

    images, labels = dataset.test.images, dataset.test.labels
    return Evidence(images, labels, answer(images), answer, run.value_range)


def golden_of(evidence: Evidence) -> np.ndarray:
    """The test images that become golden cases, [G, C, H, W]."""
    rows = choose_cases(evidence.reference, evidence.labels, evidence.images[0].nbytes)
    return np.ascontiguousarray(evidence.images[rows])


def prove_self_test(file: Path, card: ModelCard) -> tuple[tuple[str, ...], int]:
    """Run the self-test of a file, as a device will, and then on damaged copies of it.

    Returns the damages that it does not notice, and how many were tried. Raises ParityError if it does not pass, if it
    notices no damage at all, or if the card that it reads is not `card`.
    """
    classifier = Classifier.load(file, device="cpu")
    if classifier.card != card:
        raise ParityError("the card that is read from the file is not the one that was written, so there is no file")
    if card.golden is None:
        return (), 0
    result = self_test(classifier)
    if not result.passed:
        raise ParityError(f"the file does not pass its own self-test, so it is not written: {result.problem}")
    unnoticed, tried = unnoticed_damage(file.read_bytes())
    if tried and len(unnoticed) == tried:
        raise ParityError("the file's self-test does not notice damaged weights, so it is not written")
    return tuple(unnoticed), tried


def make_card(run: Run, run_name: str, *, parity: Parity, golden: Golden | None, license: str = "") -> ModelCard:
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
        license=license,
        created=run.created,
        run=run_name,
        recipe=run.recipe.name,
        data=run.data.layout,
        data_fingerprint=run.data.fingerprint,
        parameters=run.parameters,
        test_images=run.test.images,
        test_accuracy=run.test.accuracy,
        parity=parity,
        golden=golden,
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
