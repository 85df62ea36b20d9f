"""A model's card and the result of a self-test, as lines of text and as JSON."""

import json
from dataclasses import asdict
from typing import Any

from clf_runtime.classifier import Classifier
from clf_runtime.commands.shell import one_line
from clf_runtime.evaluation.interval import stated, wilson
from clf_runtime.evaluation.open_set import how_measured, open_set_summary
from clf_runtime.evaluation.self_test import SelfTest
from clf_runtime.model.card import ModelCard

_FEW = 20  # class names that are listed


def card_lines(classifier: Classifier) -> list[str]:
    """The model card, one line per fact; unknown facts are left out."""
    return [one_line(f"{name + ':' * bool(name):15} {text}") for name, text in card_facts(classifier)]


def card_facts(classifier: Classifier) -> list[tuple[str, str]]:
    """The facts of a model card, each a name and a text; unknown facts are left out."""
    card = classifier.card
    facts = [
        ("model", f"{card.model}, {card.precision}" + (f", {card.parameters:,} parameters" * bool(card.parameters))),
        ("description", card.description),
        ("classes", f"{len(card.names):,}: {', '.join(card.names[:_FEW])}{', ...' * (len(card.names) > _FEW)}"),
        ("image", _image(card)),
        ("pictures", _geometry(card)),
        ("normalisation", f"in the graph: mean {_numbers(card.mean)}, std {_numbers(card.std)}" if card.mean else ""),
        ("temperature", f"in the graph: {card.temperature:.4g}"),
        ("trained", " ".join(filter(None, (card.created, card.recipe and f"recipe {card.recipe}", card.run)))),
        ("data", " ".join(filter(None, (card.data, card.data_fingerprint and f"sha256 {card.data_fingerprint}")))),
        ("began with", card.pretrained),
        ("made of", card.original),
        ("license", card.license),
        ("test", "" if card.test_accuracy is None else _share(card.test_accuracy, card.test_images)),
        ("folds", _folds(card)),
        *_parity_facts(card),
        ("int8", card.int8.reason if card.int8 else ""),
        ("golden cases", _golden(card)),
        ("familiarity", _familiarity(card)),
        ("control", _control(card)),
        ("left out", "" if card.open_set is None else open_set_summary(card.open_set, card.names)),
        ("", "" if card.open_set is None else how_measured(card.open_set)),
        ("reference", _reference(card)),
        ("sha256", classifier.sha256),
    ]
    return [(name, text) for name, text in facts if text]


def _image(card: ModelCard) -> str:
    shape = "x".join(map(str, card.image_shape))
    if card.input == "photo":
        return f"one photo, uint8 [1, height, width, 3] of any size; the graph scales it to {shape}"
    return f"{card.dtype} {card.layout}, {shape}, {_span(card)}"


def _geometry(card: ModelCard) -> str:
    if card.geometry is None:
        return ""
    _, height, width = card.image_shape
    done = {"stretch": "stretched", "pad": "padded", "crop": "cut to the middle, scaled"}[card.geometry.fit]
    colour = card.geometry.background
    ground = "" if colour is None else ", on #{:02x}{:02x}{:02x}".format(*colour)
    where = ", in the graph" * (card.input == "photo")
    return f"{done} to {height}x{width}, {card.geometry.filter}, upright by EXIF{ground}{where}"


def card_json(classifier: Classifier) -> str:
    """The card as one JSON object: its fields, the file's SHA-256, and the golden cases without their images.

    Intervals of its accuracies, [low, high], are Wilson's at 95 % (see evaluation.interval).
    """
    card = classifier.card
    record: dict[str, Any] = asdict(card)
    if card.test_accuracy is not None:
        record["test_interval"] = _interval(card.test_accuracy, card.test_images)
    if card.fold_accuracy is not None:
        record["fold_interval"] = _interval(card.fold_accuracy, card.fold_images)
    record["parity_is_of_training"] = card.parity_is_of_training
    if card.parity is not None:
        record["parity"]["onnx_interval"] = _interval(card.parity.onnx_accuracy, card.parity.images)
    if card.golden is not None:
        del record["golden"]["images"]
    if card.golden_picture is not None:
        del record["golden_picture"]["data"]
    return json.dumps({**record, "model_sha256": classifier.sha256}, allow_nan=False)


def self_test_lines(result: SelfTest) -> list[str]:
    """The result of a self-test: one line, and if it failed one more for each case that differs."""
    least = f"tolerance {result.tolerance:g}"
    where = result.provider + ("" if result.measured else ", on which the tolerance was not measured")
    if result.passed:
        cases, largest = len(result.cases), result.max_difference
        passed = f"self-test passed: {cases} golden cases{_picture(result)} on {where}"
        return [f"{passed}; max. difference {largest:.1e}, {least}"]
    lines = [f"self-test FAILED on {where}: {result.problem}"]
    for i, case in enumerate(result.cases, 1):
        if not case.agrees(result.tolerance):
            what = f"  case {i}: expected {case.expected}, got {case.answered}"
            lines.append(f"{what}; max. difference {case.difference:.1e}, {least}")
    return [one_line(line) for line in lines]


def _picture(result: SelfTest) -> str:
    said = {"agrees": " and a picture", "no Pillow": " (without its picture: Pillow is not installed)"}
    return said.get(result.picture, "")


def self_test_json(result: SelfTest) -> str:
    """The result of a self-test as one JSON object; a difference that is not finite is null."""
    record = {"passed": result.passed, **asdict(result)}
    if not result.cases:
        record["max_difference"] = None
    return json.dumps(record, allow_nan=False)


def _parity_facts(card: ModelCard) -> list[tuple[str, str]]:
    parity = card.parity
    if parity is None:
        return []
    classes = sorted(zip(parity.class_accuracies, card.names, strict=False))
    what = _share(parity.onnx_accuracy, parity.images)
    if card.parity_is_of_training:
        what = f"proven on the {parity.images:,} images that it was trained on,"
    facts = [("this file", f"{what} by onnxruntime {parity.onnxruntime}")]
    if card.precision == "float32":
        other = "the original" if card.original else "PyTorch"
        proof = f"max. difference from {other} {parity.max_difference:.1e}, {parity.differing:,} predictions differ"
        facts.append(("parity", f"{proof}; {parity.edge_images:,} synthetic images {parity.edge_difference:.1e}"))
    if classes and not card.parity_is_of_training:
        (worst, name), (best, best_name) = classes[0], classes[-1]
        facts.append(("recall", f"from {100 * worst:.1f} % ({name}) to {100 * best:.1f} % ({best_name})"))
    return facts


def _folds(card: ModelCard) -> str:
    if card.fold_accuracy is None:
        return ""
    stated = _share(card.fold_accuracy, card.fold_images)
    return f"{stated}, each predicted by one of {card.fold_count} nets that had not seen it; this one is trained on all"


def _golden(card: ModelCard) -> str:
    golden = card.golden
    if golden is None:
        return "none"
    spread = f"measured on {golden.provider}: {golden.difference:.1e}"
    return f"{len(golden.probabilities)}, tolerance {golden.tolerance:g} ({spread}; other providers not measured)"


def _familiarity(card: ModelCard) -> str:
    found = card.familiarity
    if found is None:
        return ""
    of = f"{found.images:,} {'held-out' if found.unseen else 'training'} images"
    mean = sum(found.noticed) / max(1, len(found.noticed))
    given = f" and {stated(found.given_noticed, found.given)} of examples" if found.given else ""
    examples = f" and {found.examples:,} examples of no class" * bool(found.examples)
    unmeasured = ", too few of them to measure by" * bool(found.examples and not found.given)
    return (
        f"by {of}{examples}{unmeasured}; below {found.threshold:g} unknown (--reject auto), as {100 * mean:.0f} % of "
        f"made outliers{given} are"
    )


def _control(card: ModelCard) -> str:
    found = card.control
    if found is None:
        return "" if card.familiarity is None else "none: it cannot tell how many known images are called unknown"
    shares = sorted(zip(found.called_unknown, found.kinds, strict=True))
    each = ", ".join(f"{100 * share:.0f} % {kind}" for share, kind in shares)
    return f"known images called unknown, {found.images:,} of each kind: {each}"


def _reference(card: ModelCard) -> str:
    found = card.reference
    return "" if found is None else f"for drift: {found.images:,} held-out images, mean {found.value} {found.mean:.3f}"


def _share(accuracy: float, images: int) -> str:
    return f"accuracy {stated(accuracy, images)}"


def _interval(accuracy: float, images: int) -> tuple[float, float]:
    return wilson(round(accuracy * images), images)


def _span(card: ModelCard) -> str:
    low, high = card.value_range
    return f"values {low:g} to {high:g}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:.4g}" for v in values)
