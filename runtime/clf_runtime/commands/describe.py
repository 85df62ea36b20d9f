"""A model's card and a self-test, in lines for people and as JSON."""

import json
from dataclasses import asdict
from typing import Any

from clf_runtime.classifier import Classifier
from clf_runtime.commands.shell import one_line
from clf_runtime.evaluation.self_test import SelfTest
from clf_runtime.model.card import ModelCard

_FEW = 20  # class names that are listed


def card_lines(classifier: Classifier) -> list[str]:
    """What a model says of itself, a line a fact; facts that it does not tell are left out."""
    card = classifier.card
    facts = [
        ("model", f"{card.model}, {card.precision}" + (f", {card.parameters:,} parameters" * bool(card.parameters))),
        ("description", card.description),
        ("classes", f"{len(card.names):,}: {', '.join(card.names[:_FEW])}{', ...' * (len(card.names) > _FEW)}"),
        ("image", _image(card)),
        ("pictures", _geometry(card)),
        ("normalisation", f"in the graph: mean {_numbers(card.mean)}, std {_numbers(card.std)}" if card.mean else ""),
        ("temperature", f"in the graph: {card.temperature:.4g}"),
        ("trained", " ".join(filter(None, (card.created, card.recipe and f"by recipe {card.recipe}", card.run)))),
        ("data", " ".join(filter(None, (card.data, card.data_fingerprint and f"sha256 {card.data_fingerprint}")))),
        ("license", card.license),
        ("test", "" if card.test_accuracy is None else _share(card.test_accuracy, card.test_images)),
        *_parity_facts(card),
        ("int8", card.int8.reason if card.int8 else ""),
        ("golden cases", _golden(card)),
        ("sha256", classifier.sha256),
    ]
    return [one_line(f"{name + ':':15} {text}") for name, text in facts if text]


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
    return f"{done} to {height}x{width}, {card.geometry.filter}, upright by EXIF{ground}"


def card_json(classifier: Classifier) -> str:
    """The card as one JSON object: its fields, the file's SHA-256, and the golden cases without their images."""
    record: dict[str, Any] = asdict(classifier.card)
    if classifier.card.golden is not None:
        del record["golden"]["images"]
    return json.dumps({**record, "model_sha256": classifier.sha256}, allow_nan=False)


def self_test_lines(result: SelfTest) -> list[str]:
    """How a self-test ended: one line, and if it failed one more for each case that differs."""
    least = f"at most {result.tolerance:g} is allowed"
    where = result.provider + ("" if result.measured else ", for which the tolerance was not measured")
    if result.passed:
        cases, largest = len(result.cases), result.max_difference
        return [f"self-test passed: {cases} golden cases on {where}; largest difference {largest:.1e}, {least}"]
    lines = [f"self-test FAILED on {where}: {result.problem}"]
    for i, case in enumerate(result.cases, 1):
        if not case.agrees(result.tolerance):
            what = f"  case {i}: {case.expected}, answered {case.answered}"
            lines.append(f"{what}; largest difference {case.difference:.1e}, {least}")
    return [one_line(line) for line in lines]


def self_test_json(result: SelfTest) -> str:
    """How a self-test ended, as one JSON object; a difference that is no number is null."""
    record = {"passed": result.passed, **asdict(result)}
    if not result.cases:
        record["max_difference"] = None
    return json.dumps(record, allow_nan=False)


def _parity_facts(card: ModelCard) -> list[tuple[str, str]]:
    parity = card.parity
    if parity is None:
        return []
    classes = sorted(zip(parity.class_accuracies, card.names, strict=False))
    facts = [("this file", f"{_share(parity.onnx_accuracy, parity.images)} by onnxruntime {parity.onnxruntime}")]
    if card.precision == "float32":
        proof = f"largest difference from PyTorch {parity.max_difference:.1e}, {parity.differing:,} predictions differ"
        facts.append(("proof", f"{proof}; {parity.edge_images:,} made-up images {parity.edge_difference:.1e}"))
    if classes:
        (worst, name), (best, best_name) = classes[0], classes[-1]
        facts.append(("by class", f"from {100 * worst:.1f} % ({name}) to {100 * best:.1f} % ({best_name})"))
    return facts


def _golden(card: ModelCard) -> str:
    golden = card.golden
    if golden is None:
        return "none"
    spread = f"measured on {golden.provider}: {golden.difference:.1e}"
    return f"{len(golden.probabilities)}, tolerance {golden.tolerance:g} ({spread}; other providers not measured)"


def _share(accuracy: float, images: int) -> str:
    return f"{100 * accuracy:.2f} % right" + (f" of {images:,} images" if images else "")


def _span(card: ModelCard) -> str:
    low, high = card.value_range
    return f"values {low:g} to {high:g}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:.4g}" for v in values)
