import numpy as np
import pytest

from clf_train.metrics import Answer, measure, most_confused

NAMES = ("cat", "dog", "emu")
LABELS = np.array([0, 0, 0, 1, 1, 1])
PREDICTED = [0, 1, 1, 1, 0, 2]
PROBABILITIES = np.full((6, 3), 0.1, np.float32)
PROBABILITIES[range(6), PREDICTED] = 0.8


def test_accuracy_loss_classes_and_confusion():
    metrics = measure(PROBABILITIES, LABELS)
    assert (metrics.images, metrics.accuracy) == (6, pytest.approx(2 / 6))
    assert metrics.loss == pytest.approx(-(2 * np.log(0.8) + 4 * np.log(0.1)) / 6, rel=1e-6)
    assert metrics.class_accuracy == (pytest.approx(1 / 3), pytest.approx(1 / 3), None)
    assert metrics.confusion == ((1, 2, 0), (1, 1, 1), (0, 0, 0))
    assert metrics.first[1] == Answer(1, 0, 1, pytest.approx(0.8))


def test_the_first_ten_are_kept():
    metrics = measure(np.tile(PROBABILITIES, (5, 1)), np.tile(LABELS, 5))
    assert [a.index for a in metrics.first] == list(range(10))


def test_confused_pairs_are_named_the_worst_first():
    pairs = most_confused(measure(PROBABILITIES, LABELS), NAMES)
    assert [str(p) for p in pairs] == ["cat taken for dog, 2", "dog taken for cat, 1", "dog taken for emu, 1"]
    assert len(most_confused(measure(PROBABILITIES, LABELS), NAMES, most=1)) == 1


def test_a_probability_of_zero_gives_a_finite_loss():
    probabilities = np.array([[0, 1]], np.float32)
    assert np.isfinite(measure(probabilities, np.array([0])).loss)
