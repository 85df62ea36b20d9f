"""One export, from a run folder to verified `.onnx` files, which get their names only after the proof."""

import json
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from clf_export.cards import make_card, parity_record, photo_card, verdict_for_card
from clf_export.errors import TranslationError
from clf_export.familiarity.answered import answered
from clf_export.familiarity.fit import FamiliarityMode, with_familiarity
from clf_export.familiarity.given import given_outliers
from clf_export.familiarity.golden import reference_of
from clf_export.familiarity.images import gather_images
from clf_export.familiarity.left_out import with_familiarity_of_left_out
from clf_export.graph.photo import photo_problem, with_photo_input
from clf_export.graph.translate import build_graph
from clf_export.int8.quantize import Quantised
from clf_export.int8_export import Int8Mode, make_int8, write_int8
from clf_export.outputs import (
    ModelFile,
    int8_beside,
    keeping_rejected,
    named_together,
    refuse_existing,
    removed_at_end,
    write_model,
)
from clf_export.proof.evidence import gather_evidence
from clf_export.proof.independence import make_pool, onnx_scores, prove_gradients, prove_independence, torch_scores
from clf_export.proof.parity import TOLERANCE
from clf_export.proof.photo import PhotoProof, prove_photos
from clf_export.proof.pictures import prove_pictures, with_golden_picture
from clf_export.proof.proof import Proof, prove
from clf_export.proof.provenance import verify_accuracy
from clf_train.data.dataset import Dataset
from clf_train.files import whole_file
from clf_train.models.own import softmax_hint
from clf_train.models.registry import Model, is_own
from clf_train.runs.run import load_net, read_run


@dataclass(frozen=True)
class Export:
    """What an export wrote: the float32 file with its proof, and the int8 file, if it is recommended.

    `as_trained` says how the net was verified to be the one that was trained and tested. `pictures` is the number of
    picture files that were decoded and classified as on a device; 0 if the images are arrays.
    `quantised` holds everything that was tried for int8; it is None if int8 is off, or if none could be made, in which
    case `int8_problem` says why; so does `familiarity_problem` if the files have none although it was asked for.
    `unused_examples` is the number of examples of what is no class that there are then.
    `hint` is advice to the author of the net (see models.own.softmax_hint), `photos` how photos compare with Pillow's.
    """

    model: ModelFile
    proof: Proof
    as_trained: str
    pictures: int
    int8: ModelFile | None = None
    quantised: Quantised | None = None
    int8_problem: str | None = None
    hint: str | None = None
    photos: PhotoProof | None = None
    familiarity_problem: str | None = None
    unused_examples: int = 0


Input = Literal["tensor", "photo"]


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
    input: Input = "tensor",
    familiarity: FamiliarityMode = "auto",
    outliers: str | None = None,
    watch: Callable[[str], object] = lambda text: None,
    files: ExitStack | None = None,
) -> Export:
    """Translate a run's net, verify it on all test images of `dataset`, and write `file` and the run's parity.json.

    `own` names the user's own model of the run, whose code is then imported (see run.load_net); `license` goes into the
    card. A file appears complete under its name, after it was read back from disk and verified, or not at all; with
    `keep_rejected` one that fails is kept for inspection as `<name>.rejected.onnx`, without a card.
    With `int8` auto or require an int8 version is made too (`watch` is called with the progress), and written as
    `<name>.int8.onnx` if it is recommended; if it is not, `require` writes nothing at all.
    With `input` photo the geometry is in the graph of both files, which then take one photo [1, height, width, 3] of
    any size (see graph.photo); they are compared with Pillow's geometry and the net's probabilities (see proof.photo).
    With `familiarity` auto the files have a second output, by which an image can be unknown, where the training part
    has held-out images enough (see familiarity.fit); the Export says why not. Examples of what is no class sharpen it:
    those of `outliers`, a file, a folder or a pattern, and of the dataset.
    With `files` the files get their names when that stack is closed: see outputs.named_together.
    Raises ParityError if the outputs of the net or its file depend on the rest of the batch, if the file's
    probabilities are not within `parity.TOLERANCE` of PyTorch's, or if it fails its self-test; QuantisationError if
    int8 is required and not recommended; RunError if the run is damaged, or its net is not the one that was trained and
    tested (see run.load_net and proof.provenance); TranslationError if the net cannot be translated, or its images are
    no photos; ImageError if an outlier cannot be read; OutputError if a file exists already or cannot be written.
    """
    int8_file = int8_beside(file)
    for place in (file, int8_file) if int8 != "off" else (file,):
        refuse_existing(place, overwrite=overwrite)
    run = read_run(folder)
    given = given_outliers(run, dataset, outliers) if familiarity == "auto" else None
    if input == "photo" and (problem := photo_problem(run.image_shape, run.dtype)):
        raise TranslationError(f"{folder}: its model cannot take photos: {problem}; omit --input photo")
    reference = load_net(folder, run, own)
    hint = softmax_hint(reference, run.image_shape) if is_own(run.model) else None
    pool = make_pool(dataset.test.images, run.value_range)
    prove_independence(torch_scores(reference, run.normalisation), pool, "the net")
    prove_gradients(reference, run.normalisation, pool)
    evidence = gather_evidence(run, reference, dataset)
    accuracy, as_trained = verify_accuracy(folder, run, evidence, dataset.fingerprint)
    # a second instance: translating a net cannot change the reference that it is compared with
    net = load_net(folder, run, own)
    model = build_graph(net, run.normalisation, run.temperature, run.image_shape, run.dtype)
    plain = model.SerializeToString(deterministic=True)
    with keeping_rejected(plain, file if keep_rejected else None):
        prove_independence(onnx_scores(plain), pool, "the translated net")
        proof = prove(plain, evidence, run.names)
    quantised, int8_problem = make_int8(plain, dataset, run, int8, watch)
    gather = None if familiarity == "off" else lambda: gather_images(dataset, run, given)
    answers = answered(model, evidence, gather, with_familiarity)
    card = make_card(
        run,
        folder.name,
        accuracy,
        parity=parity_record(proof.test, TOLERANCE, dataset.fingerprint, proof.edge_images, proof.edge_difference),
        golden=answers.golden,
        int8=verdict_for_card(quantised.verdict) if quantised else None,
        reference=reference_of(answers.data, answers.familiarity, evidence.reference, evidence.images)
        if dataset.has_test
        else None,
        familiarity=answers.familiarity,
        control=answers.control,
        open_set=with_familiarity_of_left_out(run.open_set, model, answers.known),
        license=license,
    )
    figures = {
        "file": file.name,
        **asdict(proof),
        "data_fingerprint": dataset.fingerprint,
        "trained_on": card.parity_is_of_training,
    }
    geometry = run.geometry if input == "photo" else None
    final = answers.data
    if geometry is not None:
        final = with_photo_input(answers.model, run.image_shape, geometry).SerializeToString(deterministic=True)
    final_card = with_golden_picture(final, card if geometry is None else photo_card(card, geometry))
    rejected = file if keep_rejected else None
    with keeping_rejected(final, rejected), named_together() if files is None else nullcontext(files) as files:
        pictures, photos = 0, None

        def check(data: bytes) -> None:
            nonlocal pictures, photos
            if geometry is None:
                prove(data, evidence, run.names)
            else:
                tested = (evidence.images, evidence.reference, evidence.answer)
                photos = prove_photos(data, *tested, geometry, TOLERANCE)
                figures["photos"] = asdict(photos)
            pictures = prove_pictures(data, dataset, evidence)

        written = write_model(files, file, final, final_card, check)
        small = None
        if quantised is not None and quantised.verdict.recommended:
            small = write_int8(files, int8_file, quantised, card, evidence, answers.known, geometry)
        elif int8 != "off":  # an int8 file there is of an earlier export
            files.enter_context(removed_at_end(int8_file))
        record = files.enter_context(whole_file(folder / "parity.json"))
        record.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    examples = given if familiarity == "auto" else dataset.outliers
    unused = 0 if examples is None or answers.familiarity is not None else len(examples)
    return Export(
        written, proof, as_trained, pictures, small, quantised, int8_problem, hint, photos, answers.problem, unused
    )
