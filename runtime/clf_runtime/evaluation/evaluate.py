"""A model scored on labelled images, and its accuracy held against the one that its export wrote down."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from clf_runtime.classifier import Classifier
from clf_runtime.datasets.labelled import Labelled
from clf_runtime.errors import ImageError
from clf_runtime.evaluation.scores import Scores, Tally
from clf_runtime.model.card import MOST_TOLERANCE
from clf_runtime.model.golden import golden_images

_MARGIN = 2e-4  # of probabilities, where the card states no tolerance

Agreement = Literal["equal", "near ties", "different", "unknown"]


@dataclass(frozen=True)
class Evaluation:
    """How a model did on labelled images.

    `agreement` tells whether the accuracy is the one on the model's card: `equal`, apart by no more than `near ties`
    explain, `different` on the very images of the export, or `unknown` because the images are or may be others;
    `verdict` says it in a sentence. `model_seconds` went into the model, `seconds` into all, the reading included.
    """

    scores: Scores
    agreement: Agreement
    verdict: str
    model_seconds: float
    seconds: float


def evaluate(
    classifier: Classifier, labelled: Labelled, progress: Callable[[int], None] = lambda done: None
) -> Evaluation:
    """Score a model on labelled images; `progress` is told how many are done, after each block.

    The images are answered in blocks of as many as the export took, by however many threads, so that on the exporting
    machine all sums are the same.
    Raises ImageError if one image is not what the model takes, ModelError if the model fails.
    """
    card = classifier.card
    tolerance = card.golden.tolerance if card.golden else card.parity.tolerance if card.parity else _MARGIN / 2
    margin = 2 * min(tolerance, MOST_TOLERANCE[card.precision])  # int8's comparison with PyTorch has no bound
    tally = Tally(len(card.names), margin)
    golden = {image.tobytes() for image in golden_images(card.golden, card)} if card.golden else set()
    missing, sized = set(golden), True
    done, model_seconds, start = 0, 0.0, time.perf_counter()
    for block in labelled.blocks(classifier.threads):
        before = time.perf_counter()
        probabilities = classifier.probabilities(block.images, block=labelled.at_once)
        model_seconds += time.perf_counter() - before
        tally.add(probabilities, block.labels, block.places)
        sized = sized and block.images.shape[1:] == card.input_shape
        if missing:
            missing.difference_update(image.tobytes() for image in block.images)
        done += len(block.labels)
        progress(done)
    if not done:
        raise ImageError(f"{labelled.source.where}: holds no image")
    scores = tally.scores()
    if not sized:  # photos as they are: what became of them in training is not seen here
        golden, missing = set(), set()
    agreement, verdict = _compare(classifier, scores, len(golden), len(missing))
    return Evaluation(scores, agreement, verdict, model_seconds, time.perf_counter() - start)


def _compare(classifier: Classifier, scores: Scores, golden: int, missing: int) -> tuple[Agreement, str]:
    """Hold the accuracy against the card's.

    The data's fingerprint covers the training images too, which a device has not; the count of images, and the golden
    cases, which are test images, tell other data.
    """
    parity = classifier.card.parity
    if parity is None:
        return "unknown", "the model's card has no accuracy of the export to compare with"
    wrote = f"the export wrote down {100 * parity.onnx_accuracy:.2f} % of {parity.images:,} images"
    if parity.images != scores.images:
        return "unknown", f"{wrote}; these are others, so the two do not compare"
    if missing:
        return "unknown", f"{wrote}; {missing} of its {golden} golden cases are not among these, so they are others"
    alike = f"the same count{f' and all {golden} golden cases' * bool(golden)}; the fingerprint is not computed here"
    apart = scores.right - round(parity.onnx_accuracy * parity.images)
    if apart == 0:
        return "equal", f"equal: {wrote} ({alike})"
    differs = f"{abs(apart):,} {'more' if apart > 0 else 'fewer'} right"
    if -scores.ties_second <= apart <= scores.ties_right:  # here a tie was lost, or won
        return "near ties", f"{wrote}; {differs} here, no more than the near ties explain ({alike})"
    if not golden:
        return "unknown", f"{wrote}; {differs} here, more than the near ties explain: other images, or another device"
    advice = "run clf-predict --self-test and clf-doctor"
    return "different", f"{wrote}; {differs} here, MORE than the near ties explain ({alike}): {advice}"
