"""Classes left out: how they are told, and when it says that it cannot tell."""

import numpy as np
import pytest

from clf_runtime.evaluation.open_set import how_measured, open_set_summary
from clf_runtime.model.open_set import open_set_fault
from clf_train.evaluation.open_set import measure_round, together, without_figures

NAMES = ("ant", "bee", "cow", "dog")


def scores(random, count, height):
    """Scores of two classes, [count, 2], of which one is higher by about `height`."""
    made = random.normal(0, 1, (count, 2))
    made[np.arange(count), np.arange(count) % 2] += height
    return made


def test_what_is_surely_told_what_is_not_and_what_cannot_be_said():
    random = np.random.default_rng(0)
    known = scores(random, 2000, 20)
    foreign = np.concatenate([scores(random, 500, 20), scores(random, 500, 0), scores(random, 19, 0)])
    labels = np.repeat([0, 2, 3], [500, 500, 19])
    found = measure_round((0, 2, 3), known, 1990, foreign, labels, 1.0)
    assert found.images == (500, 500, 19)
    for same, other, few in (found.by_probability, found.by_logit):
        assert same.auroc == pytest.approx(0.5, abs=0.05)
        assert same.noticed == pytest.approx(0.05, abs=0.03)
        assert (other.auroc, other.noticed) == (1, 1)
        assert few is None


def test_few_known_images_tell_of_no_class():
    random = np.random.default_rng(0)
    found = measure_round((1,), scores(random, 19, 20), 19, scores(random, 50, 0), np.full(50, 1), 1.0)
    assert found.by_logit == found.by_probability == (None,)
    assert found.images == (50,)


def test_the_rounds_together_have_each_class_once_and_say_it():
    random = np.random.default_rng(0)
    known = scores(random, 100, 20)
    first = measure_round((1, 3), known, 90, scores(random, 80, 0), np.repeat([1, 3], [70, 10]), 1.0)
    second = measure_round((0, 2), known, 70, scores(random, 60, 20), np.repeat([0, 2], 30), 2.0)
    found = together([first, second], 2, 5)
    assert open_set_fault(found, 4) is None
    assert (found.rounds, found.images, found.known, found.seconds) == (((1, 3), (0, 2)), (30, 70, 30, 10), 200, 3.0)
    assert (found.accuracy, found.told, found.logit_noticed[1]) == (0.8, (0, 1, 2), 1.0)
    said = open_set_summary(found, NAMES)
    assert "to 100 % (bee)" in said
    assert said.endswith("; it cannot tell of dog")
    assert "2 nets trained for 5 epochs, each without 2 of 4 classes at most; of 200" in how_measured(found)
    nothing = together([without_figures((1, 3), (70, 10), 1.0), without_figures((0, 2), (5, 5), 1.0)], 2, 5)
    assert open_set_fault(nothing, 4) is None
    assert open_set_summary(nothing, NAMES).startswith("cannot tell whether a new class would be noticed")
