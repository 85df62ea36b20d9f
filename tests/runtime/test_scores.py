import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from clf_runtime.scores import MAX_CONFUSION, MAX_TIES, Tally
from clf_train.calibration import expected_error, reliability
from clf_train.metrics import measure


def made(count, classes, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.3), count).astype(np.float32)
    return probabilities, rng.integers(0, classes - 1, count)  # the last class has no image


def tallied(probabilities, labels, block, margin=1e-3):
    tally = Tally(probabilities.shape[1], margin)
    for first in range(0, len(labels), block):
        rows = slice(first, first + block)
        tally.add(probabilities[rows], labels[rows], [f"x[{i}]" for i in range(len(labels))[rows]])
    return tally.scores()


@pytest.mark.parametrize("block", [1, 7, 400])
def test_the_figures_are_those_of_the_training_whatever_the_blocks(block):
    probabilities, labels = made(400, 5)
    scores = tallied(probabilities, labels, block)
    expected = measure(probabilities, labels)
    assert scores.accuracy == expected.accuracy
    assert scores.class_accuracy == expected.class_accuracy
    assert scores.class_accuracy[-1] is None
    assert scores.confusion == expected.confusion
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(labels, probabilities.argmax(1), labels=range(5)))
    assert scores.calibration_error == pytest.approx(expected_error(reliability(probabilities, labels)))
    assert sum(b.images for b in scores.bins) == 400


def test_near_ties_are_counted_with_what_they_could_change():
    probabilities = np.array([[0.5, 0.4999, 0.0001], [0.4, 0.4, 0.2], [0.3, 0.3501, 0.3499], [0.9, 0.1, 0]], np.float32)
    scores = tallied(probabilities, np.array([1, 0, 0, 0]), 3)
    assert (scores.near_ties, scores.ties_right, scores.ties_second) == (3, 1, 1)
    assert [(t.image, t.label, t.first, t.second) for t in scores.first_ties] == [
        ("x[0]", 1, 0, 1),
        ("x[1]", 0, 0, 1),
        ("x[2]", 0, 1, 2),
    ]
    assert scores.first_ties[0].first_probability == pytest.approx(0.5)


def test_what_is_kept_is_bounded():
    scores = tallied(np.full((300, 2), 0.5, np.float32), np.zeros(300, np.int64), 50)
    assert scores.near_ties == 300
    assert len(scores.first_ties) == MAX_TIES
    many = MAX_CONFUSION + 1
    assert tallied(np.eye(many, dtype=np.float32)[:5], np.arange(5), 5).confusion is None
