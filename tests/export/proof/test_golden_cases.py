import numpy as np
import pytest

from clf_export.proof.golden import choose_cases


def answers(margins, labels, classes):
    """Probabilities whose two likeliest classes are so far apart, the label's first."""
    rows = np.full((len(labels), classes), 0.0)
    rows[np.arange(len(labels)), labels] = (1 + np.array(margins)) / 2
    rows[np.arange(len(labels)), (labels + 1) % classes] = (1 - np.array(margins)) / 2
    return rows


def test_each_class_in_turn_gives_its_nearest_and_its_farthest():
    labels = np.arange(40) % 4
    margins = np.linspace(0.05, 0.95, 40)
    rows = choose_cases(answers(margins, labels, 4), labels, 3072)
    assert labels[rows].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert rows.tolist() == [0, 37, 2, 39, 36, 1, 38, 3]


def test_many_classes_are_spread_over():
    labels = np.arange(200) % 100
    rows = choose_cases(answers(np.full(200, 0.5), labels, 100), labels, 3072)
    assert labels[rows].tolist() == [0, 12, 25, 37, 50, 62, 75, 87]


def test_ties_are_left_out():
    labels = np.array([0, 0, 1, 1])
    rows = choose_cases(answers([0.001, 0.5, 0.002, 0.003], labels, 2), labels, 3072)
    assert rows.tolist() == [1]


def test_many_classes_give_fewer_cases():
    labels = np.arange(40)
    rows = choose_cases(answers(np.full(40, 0.5), labels, 20_000), labels, 192)
    assert len(rows) == 4  # of 480,000 bytes of text each


@pytest.mark.parametrize(("image_bytes", "cases"), [(3072, 8), (3 * 224 * 224 * 4, 3), (4 << 20, 0)])
def test_large_images_give_fewer_cases(image_bytes, cases):
    labels = np.arange(40) % 4
    assert len(choose_cases(answers(np.full(40, 0.5), labels, 4), labels, image_bytes)) == cases
