"""The self-test: a model file's golden cases, answered here, against what the exporting machine saw."""

import math
from dataclasses import dataclass

import numpy as np

from clf_runtime.classifier import Classifier
from clf_runtime.errors import ClfError, ModelError
from clf_runtime.model.card import Golden
from clf_runtime.model.golden import golden_images


@dataclass(frozen=True)
class GoldenCase:
    """One case: the expected class and the one that came, and the largest absolute difference of a probability."""

    expected: str
    answered: str
    difference: float

    def agrees(self, tolerance: float) -> bool:
        """Whether the class is the expected one, and no probability differs by more than `tolerance`."""
        return self.answered == self.expected and self.difference <= tolerance


@dataclass(frozen=True)
class SelfTest:
    """How a self-test ended. `problem` says why it failed, and is None if it passed.

    `measured` tells whether the tolerance was measured for the provider that ran, or is another provider's.
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
        """Whether this device answers as the exporting machine did."""
        return self.problem is None


def self_test(classifier: Classifier) -> SelfTest:
    """Answer a model's golden cases, each alone and all in one batch, and compare with the file's own record.

    It fails if the likeliest class of a case differs, a probability differs by more than the card's tolerance, or the
    model does not answer at all.
    Raises ModelError if the file carries no golden cases.
    """
    golden = classifier.card.golden
    if golden is None:
        raise ModelError("the model carries no golden cases: export it with clf-export to have some")
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
