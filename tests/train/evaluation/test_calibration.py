import numpy as np
import pytest
import torch

from clf_runtime.evaluation.scores import score
from clf_train.evaluation.calibration import (
    ENOUGH_TO_CALIBRATE,
    accuracy_by_coverage,
    fit_temperature,
    images_to_fit,
)
from clf_train.evaluation.inference import softmax


def scores_and_labels(count=20_000, classes=5, seed=0):
    """Scores whose softmax is the true probability of the labels that are drawn from it."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1.5, (count, classes))
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    labels = (probabilities.cumsum(1) > rng.random((count, 1))).argmax(1)
    return torch.from_numpy(scores.astype(np.float32)), labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_that_spoiled_calibrated_scores_is_found(temperature):
    scores, labels = scores_and_labels()
    assert fit_temperature(scores * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_log_probabilities_give_the_same_temperature_as_logits():
    scores, labels = scores_and_labels(2000)
    assert fit_temperature(scores.log_softmax(1), labels) == pytest.approx(fit_temperature(scores, labels), rel=1e-3)


def test_the_fitted_temperature_lowers_the_calibration_error():
    scores, labels = scores_and_labels()
    spoiled = scores * 3
    before = score(softmax(spoiled), labels).calibration_error
    after = score(softmax(spoiled, fit_temperature(spoiled, labels)), labels).calibration_error
    assert before > 0.1
    assert after < 0.02


def test_perfect_answers_end_at_the_lowest_temperature():
    assert fit_temperature(torch.eye(4), np.arange(4)) == pytest.approx(0.05, rel=0.01)


def test_the_surest_are_answered_first():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7]], np.float32)
    rows = {c.share: c for c in accuracy_by_coverage(probabilities, np.array([0, 0, 0, 1]))}
    assert (rows[1.0].accuracy, rows[1.0].threshold) == (0.75, pytest.approx(0.6))
    assert (rows[0.5].accuracy, rows[0.5].threshold) == (1.0, pytest.approx(0.8))
    assert rows[0.1].threshold == pytest.approx(0.9)


def test_a_temperature_of_many_classes_is_fitted_to_fewer_images():
    assert images_to_fit(100_000, 10) == 100_000
    assert images_to_fit(20_000, 20_000) == 1_677
    assert images_to_fit(20_000, 100_000) == 335
    assert images_to_fit(250, 10_000_000) == ENOUGH_TO_CALIBRATE
