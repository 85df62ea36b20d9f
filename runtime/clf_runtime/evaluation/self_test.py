"""The self-test: a model file's golden cases, run here and compared with the results of the exporting machine."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clf_runtime.classifier import Classifier
from clf_runtime.errors import ClfError, MissingExtraError, ModelError
from clf_runtime.inputs.arrays import to_batch
from clf_runtime.inputs.files import picture_to_input
from clf_runtime.model.golden import golden_images
from clf_runtime.model.records import Golden

Picture = Literal["agrees", "differs", "no Pillow", "none"]


@dataclass(frozen=True)
class GoldenCase:
    """One case: the expected and the predicted class, and the largest absolute difference of a probability."""

    expected: str
    answered: str
    difference: float

    def agrees(self, tolerance: float) -> bool:
        """Whether the class is the expected one, and no probability differs by more than `tolerance`."""
        return self.answered == self.expected and self.difference <= tolerance


@dataclass(frozen=True)
class SelfTest:
    """The result of a self-test. `problem` says why it failed, and is None if it passed.

    `measured` says whether the tolerance was measured on the provider that ran, or on another one. `picture` says
    whether the golden picture `agrees` or `differs`, or why it was not run: `none` in the file, or `no Pillow`.
    """

    cases: tuple[GoldenCase, ...]
    max_difference: float
    tolerance: float
    provider: str
    measured: bool
    model_sha256: str
    problem: str | None
    picture: Picture = "none"

    @property
    def passed(self) -> bool:
        """Whether this device reproduces the results of the exporting machine."""
        return self.problem is None


def self_test(classifier: Classifier) -> SelfTest:
    """Run a model's golden cases, one by one and in one batch, and compare the results with those in the file.

    It fails if the predicted class of a case differs, if a probability differs by more than the card's tolerance, if
    the golden picture is decoded to another input or its probabilities differ, or if the model fails.
    Raises ModelError if the file has no golden cases.
    """
    golden = classifier.card.golden
    if golden is None:
        raise ModelError("the model has no golden cases: export it with clf-export to add some")
    expected = np.array(golden.probabilities, np.float32)
    try:
        images = golden_images(golden, classifier.card)
        singly = [classifier.scores(image[None]) for image in images]
        together, familiarity = classifier.scores(images)
        answers = (np.concatenate([probabilities for probabilities, _ in singly]), together)
        unlike = _unlike(classifier, familiarity, [one for _, one in singly])
    except ClfError as error:
        return _ended(classifier, golden, (), math.inf, str(error))
    difference = np.max([np.abs(answer - expected).max(axis=1) for answer in answers], axis=0)  # [cases]
    names = classifier.card.names
    wanted, first, second = (rows.argmax(axis=1) for rows in (expected, *answers))
    answered = np.where(first == wanted, second, first)  # the wrong one of the two, if one is
    cases = tuple(
        GoldenCase(names[e], names[a], float(d)) for e, a, d in zip(wanted, answered, difference, strict=True)
    )
    differing = sum(not case.agrees(golden.tolerance) for case in cases)
    problem = f"{differing} of {len(cases)} golden cases differ" if differing else unlike
    picture, fault = _try_picture(classifier, golden.tolerance)
    return _ended(classifier, golden, cases, float(difference.max()), problem or fault, picture)


def _unlike(classifier: Classifier, together: np.ndarray | None, singly: Sequence[np.ndarray | None]) -> str | None:
    """What is wrong if the familiarity of a golden case, in a batch or alone, is not the exporting machine's."""
    record = classifier.card.familiarity
    if record is None or together is None:
        return None
    alone = np.concatenate([one for one in singly if one is not None])
    difference = float(max(np.abs(found - np.array(record.golden, np.float32)).max() for found in (together, alone)))
    if difference <= record.tolerance:
        return None
    return f"the familiarity of a golden case differs by {difference:.1e} (tolerance {record.tolerance:g})"


def _try_picture(classifier: Classifier, tolerance: float) -> tuple[Picture, str | None]:
    """Decode and classify the golden picture; returns the outcome and, if it differs, what is wrong."""
    picture = classifier.card.golden_picture
    if picture is None:
        return "none", None
    try:
        image = picture_to_input(picture.data, "the golden picture", classifier.card)
        if hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() != picture.input_sha256:
            other = "perhaps another version or build of Pillow"
            return "differs", f"the golden picture is decoded to another input than at the export ({other})"
        answer = classifier.probabilities(to_batch(image, classifier.card))[0]
    except MissingExtraError:
        return "no Pillow", None
    except ClfError as error:
        return "differs", str(error)
    difference = float(np.abs(answer - np.array(picture.probabilities, np.float32)).max())
    agrees = difference <= tolerance
    return (
        "agrees" if agrees else "differs",
        None if agrees else f"the probabilities of the golden picture differ by {difference:.1e}",
    )


def _ended(
    classifier: Classifier,
    golden: Golden,
    cases: tuple[GoldenCase, ...],
    difference: float,
    problem: str | None,
    picture: Picture = "none",
) -> SelfTest:
    return SelfTest(
        cases=cases,
        max_difference=difference,
        tolerance=golden.tolerance,
        provider=classifier.provider,
        measured=classifier.provider == golden.provider,
        model_sha256=classifier.sha256,
        problem=problem,
        picture=picture,
    )
