"""Suspected labels: those that were made wrong are found, and a hard image alone is none."""

import numpy as np

from clf_train.evaluation.suspects import MOST, find_suspects


def probabilities_of(classes, sure=0.9):
    """Probabilities of three classes that take each image surely for its class."""
    return np.where(np.eye(3, dtype=bool)[classes], sure, (1 - sure) / 2).astype(np.float32)


def test_labels_that_were_made_wrong_are_found_the_most_doubtful_first():
    true = np.arange(60) % 3
    labels, probabilities = true.copy(), probabilities_of(true)
    labels[[4, 30]] = [2, 1]
    probabilities[30] = [0.99, 0.005, 0.005]
    found = find_suspects(probabilities, labels, lambda i: f"{i}.png")
    assert (found.images, found.count) == (60, 2)
    first = found.first[0]
    assert (first.index, first.place, first.label, first.predicted) == (30, "30.png", 1, 0)
    assert (round(first.label_probability, 3), round(first.probability, 3)) == (0.005, 0.99)
    assert found.first[1].index == 4


def test_an_image_that_is_only_hard_is_not_suspected():
    labels = np.arange(60) % 3
    probabilities = probabilities_of(labels)
    probabilities[7] = [0.45, 0.40, 0.15]  # class 1, likelier 0, but far from what images of 0 have
    assert find_suspects(probabilities, labels, str).count == 0


def test_a_name_that_is_no_text_can_be_written():
    labels = np.arange(60) % 3
    probabilities = probabilities_of(np.where(np.arange(60) == 4, 2, labels))
    assert find_suspects(probabilities, labels, lambda i: "\udcff.png").first[0].place == "\\udcff.png"


def test_of_many_the_run_records_some():
    labels = np.arange(300) % 3
    probabilities = probabilities_of(np.where(np.arange(300) < 90, (labels + 1) % 3, labels))
    found = find_suspects(probabilities, labels, str)
    assert (found.count, len(found.first)) == (90, MOST)
