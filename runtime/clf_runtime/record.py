"""The record of an answer: the fields that `clf-predict --json` prints and `clf-score` writes, one per image."""

from collections.abc import Sequence

from clf_runtime.pipeline import Answer
from clf_runtime.prediction import Prediction

FIELDS = {
    "class": "index",
    "name": "name",
    "probability": "probability",
    "model_sha256": "model_sha256",
    "provider": "provider",
    "familiarity": "familiarity",
    "rejected": "rejected",
}
"""The fields of a prediction, by their name in the record."""


def rank(prediction: Prediction, names: Sequence[str], top: int) -> list[tuple[str, float]]:
    """Return the `top` most likely (class name, probability), most likely first.

    Without a distribution there is at most one, and none if the prediction was rejected.
    """
    if prediction.distribution is None:
        return [] if prediction.index is None else [(prediction.name, prediction.probability)]
    order = (-prediction.distribution).argsort(kind="stable")[:top]
    return [(names[i], float(prediction.distribution[i])) for i in order]


def to_record(answer: Answer, names: Sequence[str], top: int = 1) -> dict[str, object]:
    """The record of an answer, of values that JSON has; `names` are those of all classes, the `top` best are listed.

    `error` is None if there is a prediction, and the fields of the prediction are None if not. `index` is None for a
    single image, `class` if the image was rejected.
    """
    prediction = answer.prediction
    record: dict[str, object] = {"image": answer.image, "index": answer.index}
    for key, field in FIELDS.items():
        record[key] = None if prediction is None else getattr(prediction, field)
    ranking = [] if prediction is None else rank(prediction, names, top)
    record["top"] = [{"name": name, "probability": probability} for name, probability in ranking]
    record["error"] = None if answer.error is None else str(answer.error)
    return record
