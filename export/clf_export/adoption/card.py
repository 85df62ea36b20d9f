"""The model card of an adopted classifier."""

from dataclasses import replace
from pathlib import Path

from clf_export.adoption.contract import Contract
from clf_export.adoption.pictures import Pictures
from clf_export.cards import parity_record, verdict_for_card
from clf_export.int8.quantize import Quantised
from clf_export.proof.parity import TOLERANCE
from clf_export.proof.proof import Proof
from clf_runtime.evaluation.interval import stated as with_interval
from clf_runtime.model.card import ModelCard
from clf_runtime.model.familiarity import Control, Familiarity
from clf_runtime.model.geometry import UNSTATED, Geometry
from clf_runtime.model.records import Golden
from clf_runtime.model.reference import Reference


def blank_card(path: Path, contract: Contract, geometry: Geometry | None) -> ModelCard:
    """The card as far as it is known before the images are read. Raises ModelError if a value is invalid."""
    order = -1 if contract.bgr else 1  # the card's is RGB
    mean, std = contract.pixel_mean, contract.pixel_std
    return ModelCard(
        model=path.stem,
        names=contract.names,
        image_shape=contract.image_shape,
        dtype="uint8",
        value_range=(0.0, 255.0),
        geometry=None if geometry == UNSTATED else geometry,
        mean=() if contract.dtype == "uint8" else mean[::order],
        std=() if contract.dtype == "uint8" else std[::order],
    )


def adopted_card(
    card: ModelCard,
    contract: Contract,
    *,
    original: str,
    parameters: int,
    pictures: Pictures,
    proof: Proof,
    quantised: Quantised | None,
    golden: Golden | None,
    reference: Reference | None,
    familiarity: Familiarity | None,
    control: Control | None,
    license: str,
) -> ModelCard:
    """The card of the float32 file; `card` is the blank one. Of images without labels it has no accuracy."""
    test = proof.test
    measured = f"on {test.images:,} images, no probability differs by more than {test.max_difference:.1e}"
    if pictures.labels is not None:
        measured = f"accuracy {with_interval(test.onnx_accuracy, test.images, 'test images')}"
    parity = parity_record(test, TOLERANCE, pictures.fingerprint, proof.edge_images, proof.edge_difference)
    return replace(
        card,
        description=f"{card.model}: {len(contract.names)} classes, from another program's ONNX file; {measured}",
        license=license,
        data=pictures.layout,
        data_fingerprint=pictures.fingerprint,
        original=original,
        parameters=parameters,
        parity=None if pictures.labels is None else parity,
        int8=verdict_for_card(quantised.verdict) if quantised else None,
        golden=golden,
        reference=reference,
        familiarity=familiarity,
        control=control,
    )
