"""One export, from a run folder to proven `.onnx` files: nothing is given its name before the proof."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from torch import nn

from clf_export.cards import NO_BOUND, int8_card, make_card, parity_record, verdict_for_card
from clf_export.errors import OutputError, ParityError, QuantisationError
from clf_export.graph.translate import build_graph
from clf_export.int8.held_out import choose_images
from clf_export.int8.quantize import Quantised, quantise
from clf_export.int8.verdict import ENOUGH_IMAGES, processor_difference
from clf_export.outputs import int8_beside, refuse_existing
from clf_export.proof.golden import choose_cases, make_golden, margins_of, unnoticed_damage
from clf_export.proof.independence import make_pool, onnx_scores, prove_gradients, prove_independence, torch_scores
from clf_export.proof.parity import TOLERANCE, compare, run_onnx
from clf_export.proof.proof import Evidence, Proof, prove
from clf_export.proof.trained import find_accuracy
from clf_runtime.classifier import Classifier
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.model.card import MOST_TOLERANCE, Golden, ModelCard
from clf_runtime.model.integrity import CHECKSUM_KEY, UNSEALED, seal
from clf_runtime.model.metadata import to_metadata
from clf_train.data.dataset import Dataset
from clf_train.evaluation.inference import probabilities
from clf_train.files import whole_file
from clf_train.models.own import softmax_hint
from clf_train.models.registry import Model, is_own
from clf_train.runs.run import Run, load_net, read_run

Int8Mode = Literal["off", "auto", "require"]
_LEAST_INT8_TOLERANCE = 1e-3  # of a probability: a sum that is rounded to the next of 256 steps moves it by so much


@dataclass(frozen=True)
class ModelFile:
    """A file that was written: where it is, its SHA-256, its size in bytes, and its card.

    Of `damages` to its weights its self-test missed those `unnoticed`.
    """

    path: Path
    sha256: str
    size: int
    card: ModelCard
    damages: int
    unnoticed: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """What an export wrote: the float32 file with its proof, and the int8 file, if it is recommended.

    `as_trained` says what shows that the net is the one that was trained and tested.
    `quantised` holds all that was tried for int8; it is None if none was asked for, or `int8_problem` says why none
    could be made. `hint` is what whoever made the net should know of it (see models.hint).
    """

    model: ModelFile
    proof: Proof
    as_trained: str
    int8: ModelFile | None = None
    quantised: Quantised | None = None
    int8_problem: str | None = None
    hint: str | None = None


def export_run(
    folder: Path,
    dataset: Dataset,
    file: Path,
    *,
    overwrite: bool = False,
    own: Model | None = None,
    license: str = "",
    keep_rejected: bool = False,
    int8: Int8Mode = "off",
    watch: Callable[[str], object] = lambda text: None,
    files: ExitStack | None = None,
) -> Export:
    """Translate a run's net, prove it on all test images of `dataset`, and write `file` and the run's parity.json.

    `own` names the user's own model of the run, whose code is then imported (see run.load_net); `license` goes into the
    card. A file appears whole under its name, after it was read back from disk and proven there, or not at all; with
    `keep_rejected` one that fails is kept as `<name>.rejected.onnx`, without a card, to be looked at.
    With `int8` auto or require an int8 version is made too (`watch` is told what is being tried), and written as
    `<name>.int8.onnx` if its verdict recommends it; if it does not, `require` writes nothing at all.
    With `files` the names are given when that is closed: see named_together.
    Raises ParityError if a net or its file answers an image by the others of its batch, or a file's answers are not
    what they must be: float32's within `parity.TOLERANCE` of PyTorch's, and each file's own golden cases;
    QuantisationError if int8 is required and not recommended; RunError if the run is damaged, or its net is not the one
    that was trained and tested (see run.load_net and trained.py); TranslationError if its net cannot be translated,
    OutputError if a file is there or cannot be written.
    """
    int8_file = int8_beside(file)
    for place in (file, int8_file) if int8 != "off" else (file,):
        refuse_existing(place, overwrite=overwrite)
    run = read_run(folder)
    reference = load_net(folder, run, own)
    said = softmax_hint(reference, run.image_shape) if is_own(run.model) else None
    pool = make_pool(dataset.test.images, run.value_range)
    prove_independence(torch_scores(reference, run.normalisation), pool, "the net")
    prove_gradients(reference, run.normalisation, pool)
    evidence = gather(run, reference, dataset)
    accuracy, as_trained = find_accuracy(folder, run, evidence, dataset.fingerprint)
    # of a net of its own: what is translated has no way to change what it is held to
    net = load_net(folder, run, own)
    model = build_graph(net, run.normalisation, run.temperature, run.image_shape, run.dtype)
    plain = model.SerializeToString(deterministic=True)
    with _keeping(plain, file if keep_rejected else None):
        prove_independence(onnx_scores(plain), pool, "the translated net")
        proof = prove(plain, evidence, run.names)
        quantised, int8_problem = _make_int8(plain, dataset, run, int8, watch)
        card = make_card(
            run,
            folder.name,
            accuracy,
            parity=parity_record(proof.test, TOLERANCE, dataset.fingerprint, proof.edge_images, proof.edge_difference),
            golden=make_golden(plain, _golden_images(evidence)),
            int8=verdict_for_card(quantised.verdict) if quantised else None,
            license=license,
        )
        figures = {"file": file.name, **asdict(proof), "data_fingerprint": dataset.fingerprint}
        with named_together() if files is None else nullcontext(files) as files:
            written = _write(files, file, plain, card, lambda data: prove(data, evidence, run.names))
            small = None
            if quantised is not None and quantised.verdict.recommended:
                small = _write_int8(files, int8_file, quantised, card, evidence)
            elif int8 != "off":  # what lies there is of another export
                files.enter_context(_removed_at_last(int8_file))
            record = files.enter_context(whole_file(folder / "parity.json"))
            record.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return Export(written, proof, as_trained, small, quantised, int8_problem, said)


@contextmanager
def named_together() -> Iterator[ExitStack]:
    """Give what the files of one export, or of several, wait on: all get their names when the block ends well, or none.

    Raises OutputError if one cannot be written.
    """
    try:
        with ExitStack() as files:
            yield files
    except OSError as error:
        raise OutputError(f"{error.filename or 'a file'}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _removed_at_last(file: Path) -> Iterator[None]:
    """Remove a file if the block ends well."""
    yield
    file.unlink(missing_ok=True)


def gather(run: Run, net: nn.Module, dataset: Dataset) -> Evidence:
    """What the file of a run is held to: its net's answers, on the CPU, by the path that testing took."""

    def answer(images: np.ndarray) -> np.ndarray:
        return probabilities(net, images, run.normalisation, torch.device("cpu"), run.temperature)

    images, labels = dataset.test.images, dataset.test.labels
    return Evidence(images, labels, answer(images), answer, run.value_range)


def _golden_images(evidence: Evidence) -> np.ndarray:
    """The test images that become golden cases, [G, C, H, W]."""
    rows = choose_cases(evidence.reference, evidence.labels, evidence.images[0].nbytes)
    return np.ascontiguousarray(evidence.images[rows])


def _make_int8(
    model: bytes, dataset: Dataset, run: Run, mode: Int8Mode, watch: Callable[[str], object]
) -> tuple[Quantised | None, str | None]:
    """The int8 version of a float32 model, and its verdict, or in words why there is none."""
    if mode == "off":
        return None, None
    held_out = choose_images(dataset, run)
    if mode == "require" and len(held_out.labels) < ENOUGH_IMAGES:
        raise QuantisationError(
            f"{len(held_out.labels):,} held-out images are too few to judge int8 by, {ENOUGH_IMAGES} are needed (train "
            "with a larger --validation-share); int8 is required, so no file is written"
        )
    try:
        quantised = quantise(
            model, held_out.calibration, held_out.validation, held_out.labels, unseen=held_out.unseen, watch=watch
        )
    except QuantisationError as error:
        if mode == "require":
            raise QuantisationError(f"{error}; int8 is required, so no file is written") from None
        return None, str(error)
    if mode == "require" and not quantised.verdict.recommended:
        raise QuantisationError(f"{quantised.verdict.reason()}; int8 is required, so no file is written")
    return quantised, None


def _write(files: ExitStack, path: Path, model: bytes, card: ModelCard, check: Callable[[bytes], object]) -> ModelFile:
    """Write a model with its card, and check what is then on the disk; it gets its name when `files` are closed."""
    proto = onnx.ModelProto.FromString(model)
    onnx.helper.set_model_props(proto, {**to_metadata(card), CHECKSUM_KEY: UNSEALED})
    partial = files.enter_context(whole_file(path))
    partial.write_bytes(seal(proto.SerializeToString(deterministic=True)))
    data = partial.read_bytes()
    check(data)
    unnoticed, damages = prove_self_test(partial, card)
    return ModelFile(path, hashlib.sha256(data).hexdigest(), len(data), card, damages, unnoticed)


def _write_int8(files: ExitStack, path: Path, quantised: Quantised, card: ModelCard, evidence: Evidence) -> ModelFile:
    answers = run_onnx(quantised.model, evidence.images)

    def check(data: bytes) -> None:
        if not np.array_equal(run_onnx(data, evidence.images), answers):
            raise ParityError("the file answers otherwise than before it was written, so no file is written")

    parity = card.parity
    assert parity is not None
    own = parity_record(compare(evidence.reference, answers, evidence.labels), NO_BOUND, parity.data_fingerprint)
    golden = _int8_golden(quantised, _golden_images(evidence))
    try:
        return _write(files, path, quantised.model, int8_card(card, own, golden), check)
    except ParityError as error:  # it is not the float32 file that is rejected
        raise QuantisationError(f"int8: {error}") from None


def _int8_golden(quantised: Quantised, images: np.ndarray) -> Golden | None:
    """The golden cases of an int8 file, of those images that are no tie within what processors differ by."""
    if not len(images):
        return None
    # Near the boundary a rounding moves a probability more than elsewhere.
    difference = max(quantised.verdict.processor_difference, processor_difference(quantised.model, images))
    tolerance = max(_LEAST_INT8_TOLERANCE, 2 * difference)
    if tolerance > MOST_TOLERANCE["int8"]:
        raise QuantisationError(f"int8: its answers to golden cases differ by {difference:.2f} between processors")
    told = margins_of(run_onnx(quantised.model, images)) > 2 * tolerance
    return make_golden(quantised.model, images[told], tolerance)


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
