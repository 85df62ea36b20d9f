"""Answers as lines of text, JSON or CSV."""

import json
from collections.abc import Sequence
from typing import Literal

from clf_runtime.commands.shell import one_line
from clf_runtime.pipeline import Answer
from clf_runtime.prediction import UNKNOWN
from clf_runtime.record import FIELDS, rank, to_record

Format = Literal["text", "json", "csv"]


def to_line(answer: Answer, form: Format, names: Sequence[str], top: int = 1) -> str:
    """One line for an answer, without the newline; `names` are those of all classes, the `top` best are shown."""
    if form == "json":
        return to_json(answer, names, top)
    return to_csv(answer, names, top) if form == "csv" else to_text(answer, names, top)


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
    """One JSON object, the record of the answer."""
    return json.dumps(to_record(answer, names, top), allow_nan=False)


def csv_header(top: int = 1) -> str:
    """The header of `to_csv`; with `top` above 1 it has two more columns for each class that is shown."""
    more = [f"top_{i}{column}" for i in range(1, top + 1) for column in ("", "_probability")] if top > 1 else []
    return _csv(["image", "index", *FIELDS, *more, "error"])


def to_csv(answer: Answer, names: Sequence[str], top: int = 1) -> str:
    """One line of CSV with the values of `to_json`, null as an empty field; control characters are escaped."""
    prediction = answer.prediction
    row: list[object] = [answer.image, answer.index]
    row += [None if prediction is None else getattr(prediction, field) for field in FIELDS.values()]
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
