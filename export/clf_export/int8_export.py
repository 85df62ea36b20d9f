"""The int8 version of an export: quantised, judged on held-out images, and written with its own golden cases."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from clf_export.cards import NO_BOUND, int8_card, parity_record, photo_card
from clf_export.errors import FamiliarityError, ParityError, QuantisationError
from clf_export.familiarity.control import measure_control
from clf_export.familiarity.fit import with_familiarity
from clf_export.familiarity.golden import golden_cases, reference_of, with_golden
from clf_export.familiarity.images import FrozenImages, Images
from clf_export.graph.photo import with_photo_input
from clf_export.int8.held_out import HeldOut, choose_images
from clf_export.int8.quantize import Quantised, quantise
from clf_export.int8.verdict import ENOUGH_IMAGES, processor_difference
from clf_export.outputs import ModelFile, write_model
from clf_export.proof.evidence import Evidence
from clf_export.proof.golden import make_golden, margins_of
from clf_export.proof.parity import compare, run_onnx
from clf_export.proof.photo import prove_photos
from clf_export.proof.pictures import with_golden_picture
from clf_runtime.model.card import ModelCard
from clf_runtime.model.geometry import Geometry
from clf_runtime.model.records import MOST_TOLERANCE, Golden
from clf_train.data.dataset import Dataset
from clf_train.runs.run import Run

Int8Mode = Literal["off", "auto", "require"]
_LEAST_INT8_TOLERANCE = 1e-3  # of a probability: about what one activation rounded to the next of 256 steps changes


def make_int8(
    model: bytes, dataset: Dataset, run: Run, mode: Int8Mode, watch: Callable[[str], object]
) -> tuple[Quantised | None, str | None]:
    """The int8 version of a float32 model with its verdict, or else the reason why there is none."""
    if mode == "off":
        return None, None
    return int8_of(model, choose_images(dataset, run), mode, watch, "train with a larger --validation-share")


def int8_of(
    model: bytes, held_out: HeldOut, mode: Int8Mode, watch: Callable[[str], object], advice: str
) -> tuple[Quantised | None, str | None]:
    """The same for held-out images; `advice` says how there can be enough of them."""
    if mode == "require" and len(held_out.labels) < ENOUGH_IMAGES:
        raise QuantisationError(
            f"{len(held_out.labels):,} held-out images are too few to judge int8, {ENOUGH_IMAGES} are needed "
            f"({advice}); int8 is required, so no file is written"
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


def write_int8(
    files: ExitStack,
    path: Path,
    quantised: Quantised,
    card: ModelCard,
    evidence: Evidence,
    known: Images | FrozenImages | None = None,
    geometry: Geometry | None = None,
) -> ModelFile:
    """Write the int8 file that belongs to the float32 file with this `card`; it gets its name when `files` is closed.

    Its familiarity is its own, fitted to the images `known`. With a `geometry` the file takes photos, and is compared
    with the same int8 net without the geometry in front; `card` is the one without it.
    Raises QuantisationError if the outputs of the file on disk differ from those of `quantised`, or if it fails its
    self-test.
    """
    model, familiar, control = quantised.model, None, None
    if known is not None:
        try:
            proto, familiar = with_familiarity(onnx.ModelProto.FromString(model), known)
        except FamiliarityError as error:
            raise QuantisationError(f"int8: no familiarity can be fitted: {error}; pass --familiarity off") from None
        model = proto.SerializeToString(deterministic=True)
    answers = run_onnx(quantised.model, evidence.images)

    def check(data: bytes) -> None:
        if not np.array_equal(run_onnx(data, evidence.images), answers):
            raise ParityError("the outputs of the written file differ from those before, so no file is written")

    parity = card.parity
    assert parity is not None
    own = parity_record(compare(evidence.reference, answers, evidence.labels), NO_BOUND, parity.data_fingerprint)
    cases, golden = _int8_golden(quantised, golden_cases(evidence, known))
    reference = None if card.reference is None else reference_of(model, familiar, answers, evidence.images)
    if known is not None and familiar is not None:
        familiar = with_golden(model, familiar, golden, cases, known)
        control = measure_control(
            onnx.ModelProto.FromString(quantised.model), model, known, card.value_range, familiar.threshold
        )
    small = int8_card(card, own, golden, reference, familiar, control)
    try:
        if geometry is not None:
            return _write_photo_int8(files, path, model, small, evidence, geometry)
        return write_model(files, path, model, with_golden_picture(model, small), check)
    except ParityError as error:  # another type: the float32 file is not what is rejected
        raise QuantisationError(f"int8: {error}") from None


def _write_photo_int8(
    files: ExitStack, path: Path, model: bytes, card: ModelCard, evidence: Evidence, geometry: Geometry
) -> ModelFile:
    """Write an int8 model of this card with the geometry in front. Raises ParityError if its outputs differ."""
    proto = with_photo_input(onnx.ModelProto.FromString(model), card.image_shape, geometry)
    final = proto.SerializeToString(deterministic=True)

    def answer(images: np.ndarray) -> np.ndarray:
        return run_onnx(model, images, batch=1)

    def check(data: bytes) -> None:
        allowed = card.golden.tolerance if card.golden else _LEAST_INT8_TOLERANCE
        expected = answer(evidence.images)
        prove_photos(data, evidence.images, expected, answer, geometry, allowed, MOST_TOLERANCE["int8"])

    return write_model(files, path, final, with_golden_picture(final, photo_card(card, geometry)), check)


def _int8_golden(quantised: Quantised, images: np.ndarray) -> tuple[np.ndarray, Golden | None]:
    """The golden cases of an int8 file: those images whose prediction no difference between processors can change."""
    if not len(images):
        return images, None
    # Near the decision boundary rounding changes a probability more than elsewhere.
    difference = max(quantised.verdict.processor_difference, processor_difference(quantised.model, images))
    tolerance = max(_LEAST_INT8_TOLERANCE, 2 * difference)
    if tolerance > MOST_TOLERANCE["int8"]:
        raise QuantisationError(f"int8: probabilities of golden cases differ by {difference:.2f} between processors")
    told = margins_of(run_onnx(quantised.model, images)) > 2 * tolerance
    return images[told], make_golden(quantised.model, images[told], tolerance)
