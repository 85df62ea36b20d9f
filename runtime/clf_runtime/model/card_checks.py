"""All constraints on a card, checked when it is written and when it is read."""

import math
import re
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

from clf_runtime.errors import ModelError
from clf_runtime.model.familiarity import Control, Familiarity, control_fault, familiarity_fault
from clf_runtime.model.geometry import Geometry
from clf_runtime.model.names import MAX_TEXT, is_text, names_fault
from clf_runtime.model.open_set import OpenSet, open_set_fault
from clf_runtime.model.records import (
    INPUTS,
    ITEM_BYTES,
    LEAST_SIDE,
    MAX_CLASSES,
    MAX_GOLDEN,
    MAX_PICTURE_BYTES,
    MAX_PIXELS,
    MOST_TOLERANCE,
    Golden,
    GoldenPicture,
    Int8,
    Parity,
)
from clf_runtime.model.reference import Reference, reference_fault
from clf_runtime.model.values import fits, is_a, is_share, quoted

if TYPE_CHECKING:
    from clf_runtime.model.card import ModelCard

_SLACK = 1e-3  # of a sum of probabilities
_NUMBERS = tuple[float, ...]
_INSTANT = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d+)?(\+00:00|Z)", re.ASCII)
_Demand = Callable[[bool, str, str], None]  # whether it holds, the field, what it must be


def check_card(card: "ModelCard") -> None:
    """Raise ModelError, naming the field, if a value of a card is invalid, or does not fit the others."""

    def demand(condition: bool, field: str, wanted: str) -> None:
        if not condition:
            raise ModelError(
                f"the model's card is invalid: {field} must be {wanted}, not {quoted(attrgetter(field)(card))}"
            )

    for check in (_texts, _names, _input, _accuracy, _parity, _int8, _golden, _golden_picture, _held_out):
        check(card, demand)


def _texts(card: "ModelCard", demand: _Demand) -> None:
    texts = ("model", "description", "license", "created", "run", "recipe", "data", "data_fingerprint")
    more = ("pretrained", "original")
    for field in (*texts, *more):
        demand(is_text(getattr(card, field)), field, f"text of at most {MAX_TEXT:,} characters")
    demand(not card.created or bool(_INSTANT.fullmatch(card.created)), "created", "a UTC time in ISO 8601")


def _names(card: "ModelCard", demand: _Demand) -> None:
    classes = len(card.names) if isinstance(card.names, tuple) else 0
    demand(2 <= classes <= MAX_CLASSES, "names", f"2 to {MAX_CLASSES:,} class names")
    if fault := names_fault(card.names):
        raise ModelError(f"the model's card is invalid: {fault}")


def _input(card: "ModelCard", demand: _Demand) -> None:
    demand(
        isinstance(card.image_shape, tuple)
        and len(card.image_shape) == 3
        and all(type(n) is int and n > 0 for n in card.image_shape)
        and math.prod(card.image_shape) <= MAX_PIXELS,
        "image_shape",
        f"[channels, height, width], at most {MAX_PIXELS:,} values",
    )
    channels = card.image_shape[0]
    either = (("dtype", ITEM_BYTES), ("layout", ("NCHW", "NHWC")), ("precision", MOST_TOLERANCE), ("input", INPUTS))
    for field, possible in either:
        value = getattr(card, field)
        demand(isinstance(value, str) and value in possible, field, " or ".join(possible))
    low_high = card.value_range
    demand(is_a(low_high, _NUMBERS) and len(low_high) == 2 and low_high[0] < low_high[1], "value_range", "low, high")
    demand(card.dtype != "uint8" or low_high == (0, 255), "value_range", "0, 255 for uint8")
    demand(is_a(card.mean, _NUMBERS) and len(card.mean) in (0, channels), "mean", "one number per channel")
    demand(
        is_a(card.std, _NUMBERS) and len(card.std) == len(card.mean) and all(s > 0 for s in card.std),
        "std",
        "one positive number per channel, as many as mean",
    )
    demand(is_a(card.temperature, float) and card.temperature > 0, "temperature", "a positive number")
    demand(card.geometry is None or type(card.geometry) is Geometry, "geometry", "a fit, a background and a filter")
    if card.input == "photo":
        demand(card.dtype == "uint8", "dtype", "uint8 where the input is a photo")
        demand(card.layout == "NHWC", "layout", "NHWC where the input is a photo")
        demand(card.geometry is not None, "geometry", "stated where the input is a photo")
        is_photo = channels in (1, 3) and min(card.image_shape[1:]) >= LEAST_SIDE
        demand(
            is_photo, "image_shape", f"1 or 3 channels of {LEAST_SIDE} pixels a side or more where the input is a photo"
        )


def _accuracy(card: "ModelCard", demand: _Demand) -> None:
    for field in ("parameters", "test_images", "fold_count", "fold_images"):
        demand(is_a(getattr(card, field), int), field, "an integer")
    accuracy = card.test_accuracy
    demand(accuracy is None or is_share(accuracy), "test_accuracy", "in 0..1")
    demand(accuracy is None or card.test_images > 0, "test_images", "1 or more where there is a test_accuracy")
    accuracy = card.fold_accuracy
    demand(accuracy is None or is_share(accuracy), "fold_accuracy", "in 0..1")
    folded = (accuracy is not None, card.fold_count > 0, card.fold_images > 0)
    demand(all(folded) or not any(folded), "fold_count", "there with fold_images and fold_accuracy, or none of them")


def _parity(card: "ModelCard", demand: _Demand) -> None:
    demand(fits(card.parity, Parity), "parity", "the record of a comparison")
    if card.parity is not None:
        classes = len(card.names)
        shares = (
            "max_difference",
            "mean_difference",
            "tolerance",
            "torch_accuracy",
            "onnx_accuracy",
            "edge_difference",
        )
        for field in shares:
            demand(is_share(getattr(card.parity, field)), f"parity.{field}", "in 0..1")
        most = 1 if card.precision == "int8" else MOST_TOLERANCE["float32"]  # int8 is judged by its accuracy
        demand(card.parity.tolerance <= most, "parity.tolerance", f"at most {most:g} for {card.precision}")
        demand(card.parity.images > 0, "parity.images", "1 or more")
        demand(card.parity.differing <= card.parity.images, "parity.differing", "no more than its images")
        of_class = card.parity.class_accuracies
        demand(
            len(of_class) == classes and all(map(is_share, of_class)),
            "parity.class_accuracies",
            f"one fraction in 0..1 for each of {classes:,} classes",
        )


def _int8(card: "ModelCard", demand: _Demand) -> None:
    demand(fits(card.int8, Int8), "int8", "the record of a verdict")
    if card.int8 is not None:
        for field in ("float_accuracy", "int8_accuracy", "processor_difference"):
            demand(is_share(getattr(card.int8, field)), f"int8.{field}", "in 0..1")
        for field in ("images", "size", "float_size", "batch_1_ratio", "batch_256_ratio"):
            demand(getattr(card.int8, field) > 0, f"int8.{field}", "more than 0")
        demand(card.int8.worst_class < len(card.names), "int8.worst_class", f"one of {len(card.names):,} classes")
        demand(-100 <= card.int8.worst_drop <= 100, "int8.worst_drop", "in -100..100 points")
        demand(card.int8.p_value is None or is_share(card.int8.p_value), "int8.p_value", "in 0..1")


def _golden(card: "ModelCard", demand: _Demand) -> None:
    golden, classes = card.golden, len(card.names)
    demand(
        golden is None
        or (
            fits(golden, Golden)
            and 1 <= len(golden.probabilities) <= MAX_GOLDEN
            and len(golden.images) == len(golden.probabilities) * math.prod(card.image_shape) * ITEM_BYTES[card.dtype]
            and (card.dtype == "uint8" or _all_finite(golden.images))
        ),
        "golden",
        f"1 to {MAX_GOLDEN} images with one probability per class, and a tolerance",
    )
    if golden is not None:
        rows = golden.probabilities
        most = MOST_TOLERANCE[card.precision]
        demand(
            all(len(row) == classes and all(map(is_share, row)) and abs(sum(row) - 1) <= _SLACK for row in rows),
            "golden.probabilities",
            f"one row per case of {classes:,} numbers in 0..1 that sum to 1",
        )
        demand(0 < golden.tolerance <= most, "golden.tolerance", f"above 0 and at most {most:g} for {card.precision}")
        demand(is_share(golden.difference), "golden.difference", "in 0..1")
        demand(any(map(golden.tells, rows)), "golden.probabilities", "such that at least one case is no tie")


def _golden_picture(card: "ModelCard", demand: _Demand) -> None:
    picture = card.golden_picture
    demand(
        picture is None
        or (
            fits(picture, GoldenPicture)
            and card.golden is not None
            and len(picture.data) <= MAX_PICTURE_BYTES
            and len(picture.input_sha256) == 64
            and len(picture.probabilities) == len(card.names)
            and all(map(is_share, picture.probabilities))
            and abs(sum(picture.probabilities) - 1) <= _SLACK
        ),
        "golden_picture",
        "a PNG with the SHA-256 of its input and a probability per class, beside golden cases",
    )


def _held_out(card: "ModelCard", demand: _Demand) -> None:
    demand(fits(card.reference, Reference), "reference", "the answers for held-out images")
    if card.reference is not None:
        fault = reference_fault(card.reference, len(card.names))
        demand(fault is None, "reference", fault or "")
    demand(fits(card.familiarity, Familiarity), "familiarity", "a threshold, and how it was fitted")
    if card.familiarity is not None:
        fault = familiarity_fault(card.familiarity, 0 if card.golden is None else len(card.golden.probabilities))
        demand(fault is None, "familiarity", fault or "")
    demand(fits(card.control, Control), "control", "how often known images are called unknown")
    if card.control is not None:
        fault = control_fault(card.control)
        demand(fault is None, "control", fault or "")
    demand(fits(card.open_set, OpenSet), "open_set", "how often left-out classes are noticed")
    if card.open_set is not None:
        fault = open_set_fault(card.open_set, len(card.names))
        demand(fault is None, "open_set", fault or "")


def _all_finite(data: bytes) -> bool:
    import numpy as np  # imported soon anyway, to run the model

    return bool(np.isfinite(np.frombuffer(data, "<f4")).all())
