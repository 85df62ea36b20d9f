import numpy as np
import pytest

from clf_runtime.evaluation.scores import MAX_CONFUSION, MAX_TIES, Tally, score


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
def test_the_figures_are_the_same_whatever_the_blocks(block):
    probabilities, labels = made(400, 5)
    scores = tallied(probabilities, labels, block)
    predicted = probabilities.argmax(1)
    assert scores.accuracy == (predicted == labels).mean()
    assert scores.class_accuracy == (*((predicted[labels == i] == i).mean() for i in range(4)), None)
    expected = [[((labels == i) & (predicted == j)).sum() for j in range(5)] for i in range(5)]
    np.testing.assert_array_equal(scores.confusion, expected)
    assert sum(b.images for b in scores.bins) == 400
    assert scores.calibration_error == pytest.approx(tallied(probabilities, labels, 400).calibration_error)


def test_the_calibration_error_is_the_mean_distance_of_probability_and_accuracy():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6], [0.4, 0.6]], np.float32)
    scores = tallied(probabilities, np.array([0, 1, 1, 1]), 4)
    assert [(b.images, round(b.probability, 6), b.accuracy) for b in scores.bins] == [(2, 0.6, 1.0), (2, 0.95, 0.5)]
    assert scores.calibration_error == pytest.approx((0.4 + 0.45) / 2)


def test_a_probability_of_one_lies_in_the_last_bin():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [1.0, 0.0]], np.float32)
    scores = score(probabilities, np.array([0, 1, 0, 0]))
    assert [(b.images, b.accuracy) for b in scores.bins] == [(1, 1.0), (2, 0.5), (1, 1.0)]
    assert scores.calibration_error == pytest.approx((1 * 0.4 + 2 * 0.4 + 0) / 4)
    assert scores.near_ties == 0


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
