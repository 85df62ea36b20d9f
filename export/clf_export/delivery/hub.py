"""The folder of a repository on the Hugging Face Hub: the model, its README card, labels and an example."""

import io
import json
import shlex
from pathlib import Path

import numpy as np

from clf_export.delivery.hub_readme import EXAMPLE, IMAGE, LABELS, MODEL, README, Example, readme
from clf_export.delivery.place import named_at_end
from clf_export.errors import OutputError
from clf_runtime.classifier import Classifier
from clf_runtime.engine.engine import open_engine
from clf_runtime.errors import ModelError
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.model.card import ModelCard
from clf_runtime.model.file import read_model
from clf_runtime.model.golden import golden_images
from clf_runtime.model.metadata import from_metadata
from clf_train.files import refuse_place

_OURS = {MODEL, README, LABELS, IMAGE, EXAMPLE}


def write_hub(model: Path, to: Path, *, overwrite: bool = False) -> list[str]:
    """Write the folder `to` of a repository for a file of clf-export, and return lines that say what to do with it.

    It holds `model.onnx`, byte for byte the file `model`; `README.md` with the Hub's metadata block; `labels.json`, the
    class names in the order of the outputs; and an example from the golden cases, if there is one: `image.npy`, one
    image in the model's dtype and layout, and `example.json`, the file's answer to it. The folder appears whole or not
    at all. With `overwrite` an earlier one is replaced, if it holds nothing else.
    Raises ModelError if the file cannot be run, has no card or fails its self-test; OutputError if the folder exists,
    or cannot be written.
    """
    refuse_place_of_hub(to, overwrite=overwrite)
    data = read_model(model)
    if from_metadata(open_engine(data, str(model), device="cpu").metadata) is None:
        raise ModelError(f"{model}: has no model card, so nothing can be said of it: give a file of clf-export")
    classifier = Classifier(data, str(model), device="cpu")
    card = classifier.card
    if card.golden is not None and not (result := self_test(classifier)).passed:
        raise ModelError(f"{model}: fails its self-test here, so it is not made ready for others: {result.problem}")
    files = {MODEL: data, LABELS: _json(list(card.names))}
    if (made := _example(card)) is not None:
        example, image = made
        buffer = io.BytesIO()
        np.save(buffer, image, allow_pickle=False)
        record = {"image": IMAGE, "class": example.name, "index": example.index, "probability": example.probability}
        files |= {IMAGE: buffer.getvalue(), EXAMPLE: _json({**record, "tolerance": example.tolerance})}
    files[README] = readme(classifier, made[0] if made else None).encode()
    with named_at_end(to, True, lambda: refuse_place_of_hub(to, overwrite=overwrite)) as partial:
        for name, content in files.items():
            (partial / name).write_bytes(content)
    return [f"hub: {to}: {', '.join(sorted(files))}", f"upload it with: hf upload OWNER/NAME {shlex.quote(str(to))}"]


def _example(card: ModelCard) -> tuple[Example, np.ndarray] | None:
    """The clearest of the golden cases that are no outliers, and its image in the model's layout; None without any."""
    if card.golden is None:
        return None
    foreign = 0 if card.familiarity is None else card.familiarity.foreign
    rows = card.golden.probabilities[: len(card.golden.probabilities) - foreign]
    if not rows:
        return None
    case = max(range(len(rows)), key=lambda i: max(rows[i]))
    index = int(np.argmax(rows[case]))
    example = Example(index, card.names[index], rows[case][index], card.golden.tolerance)
    return example, golden_images(card.golden, card)[case]


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def refuse_place_of_hub(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a folder exists, unless it may be replaced, or cannot be created."""
    try:
        if folder.exists() or folder.is_symlink():
            if not folder.is_dir() or folder.is_symlink():
                raise OutputError(f"{folder}: exists already, and is no folder; choose another one")
            others = sorted(entry.name for entry in folder.iterdir() if entry.name not in _OURS or entry.is_dir())
            if others:
                more = f"exists already, and holds more than a model ({others[0]})"
                raise OutputError(f"{folder}: {more}; choose another folder")
            if not overwrite:
                raise OutputError(f"{folder}: exists already; choose another folder, or pass --overwrite")
        refuse_place(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None
