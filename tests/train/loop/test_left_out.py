"""Which classes and images a training is without, and what a head says that was fitted without them."""

from dataclasses import replace

import numpy as np
import pytest

from clf_train.errors import RecipeError
from clf_train.loop.left_out import choose_rounds, choose_rows, fit_heads_without, refuse_open_set, shorten
from clf_train.models.recipe import BEST, FAST

LABELS = np.arange(600) % 6


@pytest.mark.parametrize("at_once", [1, 2, 3, 4])
def test_each_class_is_left_out_once(at_once):
    rounds = choose_rounds(6, at_once, 3)
    assert sorted(label for left_out in rounds for label in left_out) == list(range(6))
    assert (len(rounds), max(map(len, rounds)) <= at_once) == (-(-6 // at_once), True)
    assert rounds == choose_rounds(6, at_once, 3)


def test_no_image_is_asked_about_that_was_trained_on():
    asked = []
    for number in range(5):
        rows = choose_rows(LABELS, (1, 4), None, number, 0)
        assert not set(rows.fitted) & (set(rows.known) | set(rows.foreign))
        assert set(LABELS[rows.foreign]) == {1, 4}
        assert set(LABELS[rows.known]) == set(LABELS[rows.fitted]) == {0, 2, 3, 5}
        asked += rows.known.tolist()
    assert sorted(asked) == np.flatnonzero(~np.isin(LABELS, (1, 4))).tolist()  # another fifth each time


def test_where_the_run_held_out_enough_the_known_images_are_those():
    labels, held_out = np.arange(30_000) % 6, np.arange(0, 30_000, 7)
    rows = choose_rows(labels, (0,), held_out, 1, 0)
    assert set(rows.known) == set(held_out[labels[held_out] != 0])
    assert not set(rows.fitted) & set(held_out)
    assert len(rows.foreign) == 1000  # of the 5,000, none of which it sees


def test_a_class_of_one_image_stays_known():
    labels = np.append(np.zeros(50, int), [1, 2, 3]).astype(np.int64)
    for number in range(5):
        rows = choose_rows(labels, (3,), None, number, 0)
        assert {1, 2} <= set(labels[rows.fitted])


def test_the_recipe_is_a_fifth_but_no_fewer_than_350_steps():
    assert shorten(BEST, 40_000).epochs == 10
    assert shorten(FAST, 28_000).epochs == 2
    assert shorten(BEST, 1280).epochs == 35
    assert shorten(replace(FAST, epochs=30), 1000).epochs == 30
    assert (shorten(BEST, 40_000).validation_share, shorten(BEST, 40_000).patience) == (0, 0)


@pytest.mark.parametrize(("at_once", "classes", "says"), [(1, 2, "needs three"), (3, 4, "1 to 2 of 4"), (0, 4, "1 to")])
def test_too_many_classes_at_a_time_are_refused(at_once, classes, says):
    with pytest.raises(RecipeError, match=says):
        refuse_open_set(at_once, classes)
    refuse_open_set(2, 4)


def test_heads_without_a_class_are_unsure_of_it_where_it_lies_between_the_others():
    random = np.random.default_rng(0)
    centres = 6.0 * np.array([[1, 0], [-1, 0], [0, 0.2]])
    labels = np.arange(300) % 3
    x = centres[labels] + random.normal(0, 1, (300, 2))
    known, right, foreign, which = fit_heads_without(x, labels, (2,), 1e-2, FAST, 0)
    assert (known.shape, foreign.shape, set(which)) == ((200, 2), (100, 2), {2})
    assert right > 195
    assert (foreign.max(axis=1) < np.quantile(known.max(axis=1), 0.05)).mean() > 0.5
