"""The model cards of the files of a run."""

from dataclasses import asdict, fields, replace

import numpy as np

from clf_export.int8.verdict import Verdict
from clf_export.proof.parity import Comparison
from clf_runtime.engine.ort_library import onnxruntime_version
from clf_runtime.evaluation.interval import stated
from clf_runtime.model.card import ModelCard
from clf_runtime.model.familiarity import Control, Familiarity
from clf_runtime.model.geometry import UNSTATED, Geometry
from clf_runtime.model.open_set import OpenSet
from clf_runtime.model.records import Golden, Int8, Parity
from clf_runtime.model.reference import Reference
from clf_train.runs.run import Run

NO_BOUND = 1.0  # a difference of probabilities is never larger


def make_card(
    run: Run,
    run_name: str,
    accuracy: float | None,
    *,
    parity: Parity,
    golden: Golden | None,
    int8: Int8 | None,
    reference: Reference | None,
    familiarity: Familiarity | None,
    control: Control | None,
    open_set: OpenSet | None,
    license: str,
) -> ModelCard:
    """The card of a run's float32 file: deterministic, and without paths of this machine.

    `accuracy`, in [0, 1], is PyTorch's on the run's test images; None where it could not be verified.
    """
    folds, measured = run.folds, ""
    if accuracy is not None:
        measured = f", accuracy {stated(accuracy, run.data.test_images, 'test images')}"
    elif folds is not None:
        measured = f", accuracy {stated(folds.accuracy, run.data.train_images)} in {len(folds.images)} folds"
    return ModelCard(
        model=run.model,
        names=run.names,
        image_shape=run.image_shape,
        dtype=run.dtype,
        value_range=run.value_range,
        geometry=None if run.geometry == UNSTATED else run.geometry,
        mean=run.normalisation.mean,
        std=run.normalisation.std,
        temperature=run.temperature,
        description=(
            f"{run.model}: {len(run.names)} classes, trained on {run.data.train_images:,} images ({run.data.layout})"
            f"{measured}"
        ),
        license=license,
        created=run.created,
        run=run_name,
        recipe=run.recipe.name,
        data=run.data.layout,
        data_fingerprint=run.data.fingerprint,
        pretrained=run.pretrained,
        parameters=run.parameters,
        test_images=run.data.test_images,
        test_accuracy=accuracy,
        fold_count=0 if folds is None else len(folds.images),
        fold_images=0 if folds is None else run.data.train_images,
        fold_accuracy=None if folds is None else folds.accuracy,
        parity=parity,
        int8=int8,
        golden=golden,
        reference=reference,
        familiarity=familiarity,
        control=control,
        open_set=open_set,
    )


def int8_card(
    card: ModelCard,
    parity: Parity,
    golden: Golden | None,
    reference: Reference | None,
    familiarity: Familiarity | None,
    control: Control | None,
) -> ModelCard:
    """The card of the int8 file that belongs to a float32 file with this `card`."""
    measured = f": {stated(parity.onnx_accuracy, parity.images)}" * (not card.parity_is_of_training)
    description = f"{card.description}; int8{measured}"
    return replace(
        card,
        precision="int8",
        description=description,
        parity=parity,
        golden=golden,
        reference=reference,
        familiarity=familiarity,
        control=control,
    )


def photo_card(card: ModelCard, geometry: Geometry) -> ModelCard:
    """The card of the file with this geometry in its graph, which takes photos; `card` is that of the one without."""
    golden = card.golden
    if golden is not None:
        images = np.frombuffer(golden.images, np.uint8).reshape(-1, *card.image_shape)
        golden = replace(golden, images=images.transpose(0, 2, 3, 1).tobytes())
    return replace(card, input="photo", layout="NHWC", geometry=geometry, golden=golden)


def parity_record(
    comparison: Comparison, tolerance: float, data_fingerprint: str, edge_images: int = 0, edge_difference: float = 0.0
) -> Parity:
    """How a file's outputs on the test images compare with PyTorch's, as its card holds it.

    An int8 file is judged by its accuracy (see int8.verdict), not by equal probabilities: its `tolerance` is NO_BOUND.
    """
    return Parity(
        images=comparison.images,
        max_difference=comparison.max_difference,
        mean_difference=comparison.mean_difference,
        tolerance=tolerance,
        differing=comparison.differing,
        torch_accuracy=comparison.torch_accuracy,
        onnx_accuracy=comparison.onnx_accuracy,
        class_accuracies=comparison.onnx_class_accuracies,
        edge_images=edge_images,
        edge_difference=edge_difference,
        data_fingerprint=data_fingerprint,
        onnxruntime=onnxruntime_version(),
    )


def verdict_for_card(verdict: Verdict) -> Int8:
    """The verdict as the card holds it."""
    figures = {**asdict(verdict.judgement), **asdict(verdict)}
    known = {f.name: figures[f.name] for f in fields(Int8) if f.name in figures}
    known["processor_difference"] = min(1.0, verdict.processor_difference)  # infinite if outputs were not finite
    return Int8(**known, recommended=verdict.recommended, reason=verdict.reason())
