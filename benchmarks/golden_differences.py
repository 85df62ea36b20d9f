"""The golden cases of a model file, and by how much an engine's answers for them differ."""

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from engine_environments import Environment, Refusal, call

_ANSWERS = Path(__file__).with_name("engine_answers.py")


@dataclass(frozen=True)
class Cases:
    """A model's golden cases: class names, images as the model takes them, and probabilities [cases, classes].

    `familiarity` is [cases], of files with that output, and `picture` the golden picture, [1, height, width, 3] with
    its probabilities [1, classes], of those that take photos.
    """

    names: tuple[str, ...]
    images: np.ndarray
    expected: np.ndarray
    tolerance: float
    alone: bool  # whether the model takes one image at a time, as one for photos does
    familiarity: np.ndarray | None = None
    familiarity_tolerance: float = 0.0
    picture: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Differences:
    """The largest differences of a probability, of a familiarity, and of a probability of the golden picture."""

    probability: float
    familiarity: float | None = None
    picture: float | None = None

    def problem(self, cases: Cases) -> str | None:
        if self.probability > cases.tolerance:
            return "differs by more than the tolerance"
        if self.familiarity is not None and self.familiarity > cases.familiarity_tolerance:
            return f"the familiarity differs by {self.familiarity:.1e}"
        if self.picture is not None and self.picture > cases.tolerance:
            return f"the golden picture differs by {self.picture:.1e}"
        return None


@functools.cache
def read_cases(model: Path) -> Cases:
    """The golden cases in a file. Raises Refusal if it has none or is not a model."""
    from clf_runtime import Classifier, ClfError
    from clf_runtime.inputs.files import picture_to_input
    from clf_runtime.model.golden import golden_images
    from clf_runtime.model.interface import in_colour

    try:
        card = Classifier.load(model, device="cpu").card
    except ClfError as error:
        raise Refusal(str(error)) from None
    if card.golden is None:
        raise Refusal("has no golden cases: export it again")
    expected = np.array(card.golden.probabilities, np.float32)
    images, is_photo = golden_images(card.golden, card), card.input == "photo"
    cases = Cases(card.names, in_colour(images) if is_photo else images, expected, card.golden.tolerance, is_photo)
    if (known := card.familiarity) is not None and known.golden:
        familiarity = np.array(known.golden, np.float32)
        cases = replace(cases, familiarity=familiarity, familiarity_tolerance=known.tolerance)
    if is_photo and (golden := card.golden_picture) is not None:
        pixels = picture_to_input(golden.data, "the golden picture", card)[None]
        cases = replace(cases, picture=(pixels, np.array([golden.probabilities], np.float32)))
    return cases


def our_difference(name: str, environment: Environment, model: Path, cases: Cases, scratch: Path) -> Differences:
    """Run the installed `clf-predict`: the self-test, then a file with one golden image, then one with all.

    The self-test includes familiarity and golden picture. Raises Refusal if a command fails.
    """
    command = [environment.programs / "clf-predict", "--model", model, "--json"]
    record = json.loads(call([*command, "--self-test"], fine=(0, 1)))
    if record["max_difference"] is None:
        raise Refusal(record["problem"])
    np.save(scratch / "one.npy", cases.images[0])
    np.save(scratch / "all.npy", cases.images)
    paths = [scratch / "one.npy", scratch / "all.npy"]
    lines = call([*command, "--quiet", "--top", str(len(cases.names)), *paths]).splitlines()
    rows = [{one["name"]: one["probability"] for one in json.loads(line)["top"]} for line in lines]
    answers = np.array([[row[name] for name in cases.names] for row in rows], np.float32)
    again = largest(answers, np.concatenate([cases.expected[:1], cases.expected]))
    if record["problem"] is not None and record["max_difference"] <= cases.tolerance:
        raise Refusal(record["problem"])
    return Differences(max(record["max_difference"], again))


def foreign_difference(name: str, environment: Environment, model: Path, cases: Cases, scratch: Path) -> Differences:
    """Run the golden images on an engine in its own environment, one by one and in a batch.

    Raises Refusal if the engine does not run the model.
    """
    images, answers = scratch / "images.npy", scratch / "answers.npz"

    def answered(batch: np.ndarray) -> list[np.ndarray]:
        np.save(images, batch)
        alone = ["--alone"] if cases.alone else []
        call([environment.programs / "python", _ANSWERS, name, model, images, answers, *alone])
        with np.load(answers) as found:
            return [found[key] for key in found.files]

    first, *others = answered(cases.images)
    found = Differences(largest(first, np.stack([cases.expected, cases.expected])))
    if cases.familiarity is not None:
        if not others:
            raise Refusal("gives no familiarity")
        expected = np.stack([cases.familiarity, cases.familiarity])
        found = replace(found, familiarity=largest(others[0].reshape(expected.shape), expected))
    if cases.picture is not None:
        pixels, expected = cases.picture
        found = replace(found, picture=largest(answered(pixels)[0], np.stack([expected, expected])))
    return found


def largest(answers: np.ndarray, expected: np.ndarray) -> float:
    """The largest absolute difference of a probability. Raises Refusal for another shape or outputs not finite."""
    if answers.shape != expected.shape or not np.isfinite(answers).all():
        raise Refusal(f"gives {answers.dtype} {list(answers.shape)}, or outputs that are not finite")
    return float(np.abs(answers - expected).max())
