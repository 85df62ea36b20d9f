"""A model evaluated on labelled images, and its accuracy compared with the one recorded by the export."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clf_runtime.classifier import Classifier
from clf_runtime.datasets.labelled import Labelled
from clf_runtime.errors import ImageError
from clf_runtime.evaluation.interval import stated
from clf_runtime.evaluation.scores import Scores, Tally
from clf_runtime.model.golden import golden_images
from clf_runtime.model.records import MOST_TOLERANCE

_MARGIN = 2e-4  # of probabilities, if the card has no tolerance

Agreement = Literal["equal", "near ties", "different", "unknown"]


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on labelled images.

    `agreement` compares the accuracy with the one on the model's card: `equal`, different by no more than the `near
    ties` explain, `different` although the images are those of the export, or `unknown` because the images are, or may
    be, others; `verdict` says so in a sentence. `model_seconds` is the time in the model, `seconds` includes reading.
    `probability` and `familiarity`, float32 [images], are those of each image, the latter None if the file has no such
    output.
    """

    scores: Scores
    agreement: Agreement
    verdict: str
    model_seconds: float
    seconds: float
    probability: np.ndarray
    familiarity: np.ndarray | None


def evaluate(
    classifier: Classifier, labelled: Labelled, progress: Callable[[int], None] = lambda done: None
) -> Evaluation:
    """Evaluate a model on labelled images; `progress` is called with the number of images done after each block.

    The block size is that of the export, for any number of threads, so that results on the exporting machine are
    bit-identical.
    Raises ImageError if an image does not fit the model, ModelError if the model fails.
    """
    card = classifier.card
    tolerance = card.golden.tolerance if card.golden else card.parity.tolerance if card.parity else _MARGIN / 2
    margin = 2 * min(tolerance, MOST_TOLERANCE[card.precision])  # int8 has no tolerance for its difference from PyTorch
    tally = Tally(len(card.names), margin)
    golden = set()
    if card.golden is not None:
        cases = golden_images(card.golden, card)
        foreign = card.familiarity.foreign if card.familiarity else 0
        golden = {image.tobytes() for image in cases[: len(cases) - foreign]}
    certain, familiar = [], []
    missing, sized = set(golden), True
    done, model_seconds, start = 0, 0.0, time.perf_counter()
    for block in labelled.blocks(classifier.threads):
        before = time.perf_counter()
        probabilities, familiarity = classifier.scores(block.images, block=labelled.at_once)
        model_seconds += time.perf_counter() - before
        tally.add(probabilities, block.labels, block.places)
        certain.append(probabilities.max(axis=1))
        if familiarity is not None:
            familiar.append(familiarity)
        sized = sized and block.images.shape[1:] == card.input_shape
        if missing:
            missing.difference_update(image.tobytes() for image in block.images)
        done += len(block.labels)
        progress(done)
    if not done:
        raise ImageError(f"{labelled.source.where}: contains no images")
    scores = tally.scores()
    if not sized:  # photos of any size: the golden cases, which have the model's, cannot be among them
        golden, missing = set(), set()
    agreement, verdict = _compare(classifier, scores, len(golden), len(missing), is_fifth=labelled.keep is not None)
    seconds = time.perf_counter() - start
    values = (np.concatenate(certain), np.concatenate(familiar) if familiar else None)
    return Evaluation(scores, agreement, verdict, model_seconds, seconds, *values)


def _compare(
    classifier: Classifier, scores: Scores, golden: int, missing: int, *, is_fifth: bool
) -> tuple[Agreement, str]:
    """Compare the accuracy with the card's.

    The fingerprint of the data covers the training images too, which a device does not have; other data is recognised
    by the number of images, and by the golden cases, which are test images.
    """
    parity = classifier.card.parity
    if parity is None:
        return "unknown", "the model's card has no accuracy to compare with"
    wrote = f"the export recorded {stated(parity.onnx_accuracy, parity.images)}"
    if classifier.card.parity_is_of_training:
        wrote += ", all of which trained it"
    if parity.images != scores.images:
        return "unknown", f"{wrote}; these are other images, so the two cannot be compared"
    if missing:
        said = f"{wrote}; {missing} of its {golden} golden cases are not among these other images"
        if is_fifth:  # pictures were added or removed since, or not skipped: another fifth is held out of them
            said += ", so the training may have held out others: images trained on inflate the accuracy"
        return "unknown", said
    alike = f"same number of images{f' and all {golden} golden cases' * bool(golden)}; fingerprint not checked"
    apart = scores.right - round(parity.onnx_accuracy * parity.images)
    if apart == 0:
        return "equal", f"equal: {wrote} ({alike})"
    differs = f"{abs(apart):,} {'more' if apart > 0 else 'fewer'} correct"
    if -scores.ties_second <= apart <= scores.ties_right:  # here a tie was lost, or won
        return "near ties", f"{wrote}; {differs} here, which the near ties explain ({alike})"
    if not golden:
        return "unknown", f"{wrote}; {differs} here, more than the near ties explain: other images, or another device"
    advice = "run clf-predict --self-test and clf-doctor"
    return "different", f"{wrote}; {differs} here, MORE than the near ties explain ({alike}): {advice}"
