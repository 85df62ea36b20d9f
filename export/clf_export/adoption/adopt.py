"""One adoption: from a foreign ONNX file, what is stated of it, and pictures, to verified clf-edge model files.

Letters in shapes: N images, C channels, H height, W width, K classes.
"""

import hashlib
import math
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from clf_export.adoption.card import adopted_card, blank_card
from clf_export.adoption.contract import Contract, agree
from clf_export.adoption.fitting import familiar_images, fitted, held_out_images
from clf_export.adoption.graph import build
from clf_export.adoption.original import read_original
from clf_export.adoption.pictures import Pictures, read_pictures
from clf_export.adoption.proving import ORIGIN, prove_any_batch, prove_rest
from clf_export.adoption.reference import check_names, check_scores, original_output, original_scores, to_probabilities
from clf_export.adoption.stated import Stated
from clf_export.cards import photo_card
from clf_export.errors import AdoptionError, OutputError, QuantisationError
from clf_export.export import Input
from clf_export.familiarity.answered import answered
from clf_export.familiarity.fit import FamiliarityMode
from clf_export.familiarity.golden import reference_of
from clf_export.graph.photo import photo_problem, with_photo_input
from clf_export.int8.quantize import Quantised
from clf_export.int8_export import Int8Mode, int8_of, write_int8
from clf_export.outputs import (
    ModelFile,
    int8_beside,
    keeping_rejected,
    named_together,
    refuse_existing,
    removed_at_end,
    write_model,
)
from clf_export.proof.evidence import Evidence
from clf_export.proof.parity import TOLERANCE, Comparison
from clf_export.proof.photo import PhotoProof, prove_photos
from clf_export.proof.pictures import with_golden_picture
from clf_export.proof.proof import Proof, prove

_RANGE = (0.0, 255.0)


@dataclass(frozen=True)
class Adopted:
    """What an adoption wrote: the float32 file with its proof, and the int8 file, if it is recommended.

    `original` describes the foreign file, `stated` the preprocessing that is in the graph now. `labelled` says whether
    the images have labels, so that there are accuracies. `rest` compares the images that were not tested, None if all
    were. `quantised`, `int8_problem`, `photos` and `familiarity_problem` are those of an Export.
    """

    model: ModelFile
    proof: Proof
    original: str
    stated: str
    labelled: bool
    rest: Comparison | None
    notes: tuple[str, ...]
    int8: ModelFile | None = None
    quantised: Quantised | None = None
    int8_problem: str | None = None
    photos: PhotoProof | None = None
    familiarity_problem: str | None = None


def adopt_onnx(
    path: Path,
    stated: Stated,
    data: str | None,
    file: Path,
    *,
    overwrite: bool = False,
    license: str = "",
    keep_rejected: bool = False,
    int8: Int8Mode = "off",
    input: Input = "tensor",
    familiarity: FamiliarityMode = "auto",
    watch: Callable[[str], object] = lambda text: None,
    files: ExitStack | None = None,
) -> Adopted:
    """Write the classifier in the foreign ONNX file `path` as the clf-edge model `file`, after proving that they agree.

    The new file takes pixels, uint8 [batch, C, H, W], RGB or grey, and gives probabilities, float32 [batch, K]. On
    every image of `data` (see pictures.read_pictures) and on synthetic ones it is compared with the original,
    unchanged, on pixels that numpy preprocesses as `stated`: probabilities within `parity.TOLERANCE`, the same
    predictions, and no dependence on the rest of the batch. Golden cases are of the images; int8 needs labelled ones.
    The other arguments are those of `export_run`.
    Raises AdoptionError if the file cannot be adopted, or is not as stated, or if something is not stated (the message
    asks for all of it); ParityError if the two files differ; QuantisationError if int8 is required and not recommended;
    OutputError if a file exists already or cannot be written.
    """
    int8_file = int8_beside(file)
    for place in (file, int8_file) if int8 != "off" else (file,):
        refuse_existing(place, overwrite=overwrite)
        if place.resolve() == path.resolve():
            raise OutputError(f"{place}: is the file that is adopted; choose another --out")
    original = read_original(path, stated.output)
    contract = agree(original, stated, data)
    _refuse_unsuited(path, stated, contract, input)
    assert data is not None
    blank = np.zeros((original.batch or 1, *contract.image_shape), np.uint8)
    output_shape = original_output(original, stated, contract, blank).shape
    check_names(path, stated, contract, math.prod(output_shape[1:]))
    scores = original_scores(original, stated, contract)
    empty = blank_card(path, contract, stated.geometry)
    fits = int8 != "off" or familiarity == "auto"
    pictures = read_pictures(data, empty, divide=fits, watch=watch)
    if int8 == "require" and pictures.labels is None:
        raise QuantisationError(f"{data}: {_UNLABELLED}; int8 is required, so no file is written")
    given = scores(pictures.images)
    check_scores(path, stated, given)
    reference = to_probabilities(given, stated)
    labels = reference.argmax(axis=1) if pictures.labels is None else pictures.labels

    def answer(images: np.ndarray) -> np.ndarray:
        return to_probabilities(scores(images), stated)

    rows = pictures.test
    evidence = Evidence(pictures.images[rows], labels[rows], reference[rows], answer, _RANGE, ORIGIN)
    model = build(original, stated, contract, output_shape)
    plain = model.SerializeToString(deterministic=True)
    with keeping_rejected(plain, file if keep_rejected else None):
        prove_any_batch(original, plain, evidence)
        proof = prove(plain, evidence, contract.names)
        rest = prove_rest(plain, pictures, reference, labels)
        quantised, int8_problem = _quantised(plain, pictures, int8, watch)
        gather = None if familiarity == "off" else lambda: familiar_images(pictures, labels)
        answers = answered(model, evidence, gather, fitted)
        card = adopted_card(
            empty,
            contract,
            original=f"{path.name}, sha256 {hashlib.sha256(original.data).hexdigest()}",
            parameters=_float_weights(model),
            pictures=pictures,
            proof=proof,
            quantised=quantised,
            golden=answers.golden,
            reference=reference_of(answers.data, answers.familiarity, evidence.reference, evidence.images),
            familiarity=answers.familiarity,
            control=answers.control,
            license=license,
        )
        geometry = stated.geometry if input == "photo" else None
        final = answers.data
        if geometry is not None:
            final = with_photo_input(answers.model, contract.image_shape, geometry).SerializeToString(
                deterministic=True
            )
        final_card = with_golden_picture(final, card if geometry is None else photo_card(card, geometry))
        with named_together() if files is None else nullcontext(files) as files:
            photos = None

            def check(written: bytes) -> None:
                nonlocal photos
                if geometry is None:
                    prove(written, evidence, contract.names)
                else:
                    tested = (evidence.images, evidence.reference, evidence.answer)
                    photos = prove_photos(written, *tested, geometry, TOLERANCE)

            written = write_model(files, file, final, final_card, check)
            small = None
            if quantised is not None and quantised.verdict.recommended:
                small = write_int8(files, int8_file, quantised, card, evidence, answers.known, geometry)
            elif int8 != "off":  # an int8 file there is of an earlier adoption
                files.enter_context(removed_at_end(int8_file))
    told = f"{path.name}, opset {original.opset}, IR {original.model.ir_version}, input {original.input}"
    return Adopted(
        written,
        proof,
        told,
        stated.words(),
        pictures.labels is not None,
        rest,
        pictures.notes,
        small,
        quantised,
        int8_problem,
        photos,
        answers.problem,
    )


_UNLABELLED = "the images have no labels, without which int8 cannot be judged"


def _refuse_unsuited(path: Path, stated: Stated, contract: Contract, input: Input) -> None:
    if input == "photo":
        if problem := photo_problem(contract.image_shape, "uint8"):
            raise AdoptionError(f"{path}: cannot take photos: {problem}; omit --input photo")
        if stated.geometry is None:
            raise AdoptionError(f"{path}: --input photo needs to know how photos are resized: pass --fit")


def _quantised(
    plain: bytes, pictures: Pictures, mode: Int8Mode, watch: Callable[[str], object]
) -> tuple[Quantised | None, str | None]:
    if mode == "off":
        return None, None
    if pictures.labels is None:
        return None, f"{_UNLABELLED}: pass labelled ones as --data"
    if len(pictures.rest) < 2:
        return None, "there are no images beside those that are tested"
    return int8_of(plain, held_out_images(pictures, pictures.labels), mode, watch, "pass more images as --data")


def _float_weights(model: onnx.ModelProto) -> int:
    """The number of float weights of a graph."""
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type in floats)
