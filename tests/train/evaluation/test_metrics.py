import numpy as np
import pytest

from clf_train.evaluation.metrics import LabelledPrediction, Mistakes, confused_examples, measure, most_confused

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
    assert metrics.first[1] == LabelledPrediction(1, 0, 1, pytest.approx(0.8))


def test_the_first_ten_are_kept():
    metrics = measure(np.tile(PROBABILITIES, (5, 1)), np.tile(LABELS, 5))
    assert [a.index for a in metrics.first] == list(range(10))


def test_confused_pairs_are_named_the_worst_first():
    pairs = most_confused(measure(PROBABILITIES, LABELS), NAMES)
    assert [str(p) for p in pairs] == ["cat predicted as dog, 2", "dog predicted as cat, 1", "dog predicted as emu, 1"]
    assert len(most_confused(measure(PROBABILITIES, LABELS), NAMES, most=1)) == 1


def test_a_probability_of_zero_gives_a_finite_loss():
    probabilities = np.array([[0, 1]], np.float32)
    assert np.isfinite(measure(probabilities, np.array([0])).loss)


def test_the_surest_mistakes_of_the_worst_pairs_come_first():
    labels = np.array([0, 0, 0, 0, 1, 2, 2])
    given = [(0, 0.99), (1, 0.6), (1, 0.9), (1, 0.7), (0, 0.95), (1, 0.8), (1, 0.8)]
    probabilities = np.zeros((7, 3), np.float32)
    for row, (predicted, probability) in enumerate(given):
        probabilities[row] = (1 - probability) / 2
        probabilities[row, predicted] = probability
    worst, second, third = confused_examples(probabilities, labels, most_examples=2)
    assert (worst.label, worst.predicted, worst.count) == (0, 1, 3)
    assert worst.examples == (
        LabelledPrediction(2, 0, 1, pytest.approx(0.9)),
        LabelledPrediction(3, 0, 1, pytest.approx(0.7)),
    )
    assert [a.index for a in second.examples] == [5, 6]  # as sure as each other: in the order of the file
    assert third == Mistakes(1, 0, 1, (LabelledPrediction(4, 1, 0, pytest.approx(0.95)),))
    assert confused_examples(probabilities, labels, most_pairs=1) == [
        Mistakes(0, 1, 3, (*worst.examples, LabelledPrediction(1, 0, 1, pytest.approx(0.6))))
    ]


def test_examples_come_in_the_order_of_the_confused_pairs():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.random((500, 4), dtype=np.float32), rng.integers(0, 4, 500)
    pairs = most_confused(measure(probabilities, labels), "abcd", most=6)
    mistakes = confused_examples(probabilities, labels)
    assert [("abcd"[m.label], "abcd"[m.predicted], m.count) for m in mistakes] == [
        (p.label, p.predicted, p.count) for p in pairs
    ]


def test_without_a_mistake_there_is_no_example():
    assert confused_examples(np.eye(3, dtype=np.float32), np.arange(3)) == []
