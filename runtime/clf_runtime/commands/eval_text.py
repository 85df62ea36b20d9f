"""An evaluation as lines of text, and as JSON."""

import json
from dataclasses import asdict
from typing import Any

from clf_runtime.classifier import Classifier
from clf_runtime.commands.shell import one_line
from clf_runtime.datasets.labelled import Labelled
from clf_runtime.engine.ort_library import onnxruntime_version
from clf_runtime.evaluation.evaluate import Evaluation
from clf_runtime.evaluation.interval import span, stated, wilson
from clf_runtime.evaluation.scores import Scores
from clf_runtime.evaluation.unknown import Unknown

_MANY = 20  # classes; of more, only the worst are shown
_FEW = 10  # lines of a list


def eval_lines(
    classifier: Classifier, labelled: Labelled, result: Evaluation, unknown: Unknown | None = None
) -> list[str]:
    """The results: accuracy, comparison with the card, calibration, near ties, time, recall, confusion."""
    scores, names = result.scores, classifier.card.names
    micro = [1e6 * seconds / scores.images for seconds in (result.model_seconds, result.seconds)]
    ties = f"{scores.near_ties:,} predictions with top two probabilities within {scores.margin:g}"
    facts = [
        ("accuracy", f"{stated(scores.accuracy, scores.images)}, {scores.right:,} correct"),
        ("images", f"{labelled.part}, {labelled.source.layout}: {labelled.source.where}"),
        ("card", result.verdict),
        ("calibration", f"expected calibration error {100 * scores.calibration_error:.2f} %"),
        ("near ties", ties),
    ]
    facts += _unknown_facts(unknown)
    lines = [f"{name:12} {text}" for name, text in facts]
    for tie in scores.first_ties[:_FEW]:
        pair = f"{names[tie.first]} {tie.first_probability:.6f}, {names[tie.second]} {tie.second_probability:.6f}"
        lines.append(f"  {tie.image}: {pair}; label {names[tie.label]}")
    took = f"{micro[0]:.1f} us per image in the model, {micro[1]:.1f} with reading"
    threads = f"{classifier.threads} thread{'s' * (classifier.threads > 1)}"
    lines += [f"{'time':12} {took}; blocks of up to {labelled.at_once}, {threads}, {classifier.provider}", ""]
    lines += [*_class_lines(scores, names), "", *_confusion_lines(scores, names)]
    return [one_line(line).rstrip() for line in lines]


def _unknown_facts(unknown: Unknown | None) -> list[tuple[str, str]]:
    """What is known of images that are of no class."""
    if unknown is None:
        return []
    facts = []
    if unknown.rejected is not None:
        said = f"{stated(unknown.rejected, unknown.images)} by familiarity (--reject auto)"
        facts.append(("unknown", said))
    if unknown.probability_auroc is not None:
        if unknown.accepted is not None:
            facts.append(("outliers", f"accepted {stated(unknown.accepted, unknown.outliers, 'outliers')}"))
        by = "" if unknown.familiarity_auroc is None else f"{unknown.familiarity_auroc:.3f} by familiarity, "
        facts.append(("AUROC", f"{by}{unknown.probability_auroc:.3f} by probability, against the outliers"))
    return facts


def eval_json(classifier: Classifier, labelled: Labelled, result: Evaluation, unknown: Unknown | None = None) -> str:
    """The same as one JSON object; times are wall-clock seconds, accuracies fractions in 0..1.

    An `interval` is [low, high], Wilson's at 95 % (see evaluation.interval).
    """
    scores, names, parity = result.scores, classifier.card.names, classifier.card.parity
    ties = [
        {**asdict(tie), "label": names[tie.label], "first": names[tie.first], "second": names[tie.second]}
        for tie in scores.first_ties
    ]
    by_class = zip(names, scores.class_images, scores.class_right, scores.class_accuracy, strict=True)
    record: dict[str, Any] = {
        "accuracy": scores.accuracy,
        "interval": wilson(scores.right, scores.images),
        "images": scores.images,
        "right": scores.right,
        "data": labelled.source.where,
        "layout": labelled.source.layout,
        "part": labelled.part,
        "agreement": result.agreement,
        "verdict": result.verdict,
        "card_accuracy": parity.onnx_accuracy if parity else None,
        "card_interval": wilson(round(parity.onnx_accuracy * parity.images), parity.images) if parity else None,
        "card_images": parity.images if parity else None,
        "card_is_of_training": classifier.card.parity_is_of_training,
        "classes": [
            {"name": n, "images": i, "right": r, "accuracy": a, "interval": wilson(r, i)} for n, i, r, a in by_class
        ],
        "confusion": scores.confusion,
        "calibration_error": scores.calibration_error,
        "calibration": [asdict(b) for b in scores.bins],
        "near_ties": {"margin": scores.margin, "count": scores.near_ties, "first": ties},
        "seconds_per_image": result.model_seconds / scores.images,
        "seconds_per_image_with_reading": result.seconds / scores.images,
        "unknown": None if unknown is None else asdict(unknown),
        "notes": labelled.notes,
        "model_sha256": classifier.sha256,
        "provider": classifier.provider,
        "threads": classifier.threads,
        "onnxruntime": onnxruntime_version(),
    }
    return json.dumps(record, allow_nan=False)


def _class_lines(scores: Scores, names: tuple[str, ...]) -> list[str]:
    rows = list(zip(scores.class_accuracy, names, scores.class_images, strict=True))
    title = "class"
    if len(rows) > _MANY:
        rows = sorted((row for row in rows if row[0] is not None), key=lambda row: row[0] or 0.0)[:_FEW]
        title = "lowest recall"
    width = max(len(title), *(len(name) for _, name, _ in rows))
    lines = [f"{title:{width}}  {'images':>7}    recall  (95 % interval)"]
    for accuracy, name, images in rows:
        recall = "-" if accuracy is None else f"{100 * accuracy:6.2f} %  ({span(accuracy, images)})"
        lines.append(f"{name:{width}}  {images:7,}  {recall}")
    return lines


def _confusion_lines(scores: Scores, names: tuple[str, ...]) -> list[str]:
    if scores.confusion is None:
        return ["too many classes for a confusion matrix"]
    if len(names) <= _MANY:
        cell = max(6, *(len(f"{n:,}") for row in scores.confusion for n in row)) + 1
        width = max(len("true \\ predicted"), *map(len, names))
        lines = [f"{'true / predicted':{width}}" + "".join(f"{name[: cell - 1]:>{cell}}" for name in names)]
        for name, row in zip(names, scores.confusion, strict=True):
            lines.append(f"{name:{width}}" + "".join(f"{n:{cell},}" for n in row))
        return lines
    pairs = [(-n, i, j) for i, row in enumerate(scores.confusion) for j, n in enumerate(row) if n and i != j]
    return ["most confused"] + [f"{names[i]} predicted as {names[j]}: {-n:,}" for n, i, j in sorted(pairs)[:_FEW]]
