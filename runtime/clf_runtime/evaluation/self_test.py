"""The self-test: a model file's golden cases, run here and compared with the results of the exporting machine."""

import math
from dataclasses import dataclass

import numpy as np

from clf_runtime.classifier import Classifier
from clf_runtime.errors import ClfError, ModelError
from clf_runtime.model.card import Golden
from clf_runtime.model.golden import golden_images


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

    `measured` says whether the tolerance was measured on the provider that ran, or on another one.
    """

    cases: tuple[GoldenCase, ...]
    max_difference: float
    tolerance: float
    provider: str
    measured: bool
    model_sha256: str
    problem: str | None

    @property
    def passed(self) -> bool:
        """Whether this device reproduces the results of the exporting machine."""
        return self.problem is None


def self_test(classifier: Classifier) -> SelfTest:
    """Run a model's golden cases, one by one and in one batch, and compare the results with those in the file.

    It fails if the predicted class of a case differs, if a probability differs by more than the card's tolerance, or
    if the model fails.
    Raises ModelError if the file has no golden cases.
    """
    golden = classifier.card.golden
    if golden is None:
        raise ModelError("the model has no golden cases: export it with clf-export to add some")
    expected = np.array(golden.probabilities, np.float32)
    try:
        images = golden_images(golden, classifier.card)
        alone = np.concatenate([classifier.probabilities(image[None]) for image in images])
        answers = (alone, classifier.probabilities(images))
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
    problem = f"{differing} of {len(cases)} golden cases differ" if differing else None
    return _ended(classifier, golden, cases, float(difference.max()), problem)


def _ended(
    classifier: Classifier, golden: Golden, cases: tuple[GoldenCase, ...], difference: float, problem: str | None
) -> SelfTest:
    return SelfTest(
        cases=cases,
        max_difference=difference,
        tolerance=golden.tolerance,
        provider=classifier.provider,
        measured=classifier.provider == golden.provider,
        model_sha256=classifier.sha256,
        problem=problem,
    )
