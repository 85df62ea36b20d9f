"""Answers as lines of text, JSON or CSV."""

import json
from collections.abc import Sequence
from typing import Literal

from clf_runtime.commands.shell import one_line
from clf_runtime.pipeline import Answer
from clf_runtime.prediction import UNKNOWN, Prediction

Format = Literal["text", "json", "csv"]


def to_line(answer: Answer, form: Format, names: Sequence[str], top: int = 1) -> str:
    """One line for an answer, without the newline; `names` are those of all classes, the `top` best are shown."""
    if form == "json":
        return to_json(answer, names, top)
    return to_csv(answer, names, top) if form == "csv" else to_text(answer, names, top)


def rank(prediction: Prediction, names: Sequence[str], top: int) -> list[tuple[str, float]]:
    """Return the `top` most likely (class name, probability), most likely first.

    Without a distribution there is at most one, and none if the prediction was rejected.
    """
    if prediction.distribution is None:
        return [] if prediction.index is None else [(prediction.name, prediction.probability)]
    order = (-prediction.distribution).argsort(kind="stable")[:top]
    return [(names[i], float(prediction.distribution[i])) for i in order]


def to_text(answer: Answer, names: Sequence[str], top: int = 1) -> str:
    """The image, then each class with its probability, after the word unknown if the image was rejected."""
    where = f"{one_line(answer.image)}{'' if answer.index is None else f'[{answer.index}]'}"
    if answer.prediction is None:
        return f"{where}: error: {one_line(str(answer.error))}"
    ranking = rank(answer.prediction, names, top)
    if answer.prediction.index is None:
        ranking = [(UNKNOWN, answer.prediction.probability), *(ranking if top > 1 else [])]
    return f"{where}: " + "  ".join(f"{one_line(name)} {probability:.4f}" for name, probability in ranking)


def to_json(answer: Answer, names: Sequence[str], top: int = 1) -> str:
    """One JSON object; `error` is null if there is a prediction, and the fields of the prediction are null if not.

    `index` is null for a single image, `class` if the image was rejected.
    """
    prediction = answer.prediction
    record: dict[str, object] = {"image": answer.image, "index": answer.index}
    for key, field in _FIELDS.items():
        record[key] = None if prediction is None else getattr(prediction, field)
    ranking = [] if prediction is None else rank(prediction, names, top)
    record["top"] = [{"name": name, "probability": probability} for name, probability in ranking]
    record["error"] = None if answer.error is None else str(answer.error)
    return json.dumps(record, allow_nan=False)


_FIELDS = {
    "class": "index",
    "name": "name",
    "probability": "probability",
    "model_sha256": "model_sha256",
    "provider": "provider",
    "familiarity": "familiarity",
    "rejected": "rejected",
}


def csv_header(top: int = 1) -> str:
    """The header of `to_csv`; with `top` above 1 it has two more columns for each class that is shown."""
    more = [f"top_{i}{column}" for i in range(1, top + 1) for column in ("", "_probability")] if top > 1 else []
    return _csv(["image", "index", *_FIELDS, *more, "error"])


def to_csv(answer: Answer, names: Sequence[str], top: int = 1) -> str:
    """One line of CSV with the values of `to_json`, null as an empty field; control characters are escaped."""
    prediction = answer.prediction
    row: list[object] = [answer.image, answer.index]
    row += [None if prediction is None else getattr(prediction, field) for field in _FIELDS.values()]
    if top > 1:
        ranking = [] if prediction is None else rank(prediction, names, top)
        pairs: list[object] = [value for pair in ranking for value in pair]
        row += pairs + [None] * (2 * top - len(pairs))
    return _csv([*row, answer.error])


def _csv(row: Sequence[object]) -> str:
    import csv
    import io

    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["" if value is None else one_line(str(value)) for value in row])
    return line.getvalue()
