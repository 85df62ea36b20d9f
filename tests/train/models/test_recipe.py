from dataclasses import replace

import pytest

from clf_train.errors import RecipeError
from clf_train.models.recipe import Recipe, change, fit_to, learning_rate
from clf_train.models.registry import MODELS, find_recipe

PLAIN = Recipe("plain", 10, 100, 0.1)


def test_seed_is_the_user_s_own():
    simple, conv = find_recipe("seed", "simple"), find_recipe("seed", "conv")
    assert (simple.learning_rate, simple.batch_size, simple.epochs) == (0.1, 100, 20)
    assert (conv.learning_rate, conv.batch_size, conv.epochs) == (0.01, 25, 10)
    for recipe in (simple, conv):
        assert (recipe.optimizer, recipe.schedule, recipe.momentum, recipe.weight_decay) == ("sgd", "constant", 0, 0)
        assert recipe.validation_share == 0
        assert not any((recipe.shuffle, recipe.normalise, recipe.flip, recipe.shift, recipe.label_smoothing))


@pytest.mark.parametrize("name", ["seed", "fast", "best"])
@pytest.mark.parametrize("model", [*MODELS, "my.nets:tiny"])
def test_every_recipe_is_there_for_every_model_under_its_name(name, model):
    if name == "seed" and model not in ("simple", "conv"):
        with pytest.raises(RecipeError, match="'seed' is for simple and conv only"):
            find_recipe(name, model)
    else:
        assert find_recipe(name, model).name == name


def test_an_unknown_model_is_refused_with_those_there_are():
    with pytest.raises(
        RecipeError, match=r"simple, conv, resnet8, efficientnet_lite0, efficientnet_lite1, or package\.module:factory"
    ):
        find_recipe("fast", "resnet")


def test_small_data_are_passed_over_more_often_unless_epochs_are_given():
    recipe = replace(PLAIN, least_steps=350)
    assert fit_to(recipe, 1000).epochs == 35
    assert fit_to(recipe, 950).epochs == 35
    assert fit_to(recipe, 50_000).epochs == 10
    assert fit_to(change(recipe, {"epochs": 3}), 1000).epochs == 3


def test_the_first_layer_is_trained_where_the_images_are_few():
    recipe = Recipe("fast", 3, 100, 0.1, least_steps=350, whiten=True)
    assert fit_to(recipe, 50_000).whiten
    assert not fit_to(recipe, 10_000).whiten
    assert not fit_to(change(recipe, {"epochs": 50}), 1_000).whiten


def test_an_unknown_recipe_is_refused_with_those_there_are():
    with pytest.raises(RecipeError, match="seed, fast, best"):
        find_recipe("quick", "conv")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", {0: 0.1, 0.5: 0.1, 0.999: 0.1}),
        ("step", {0: 0.1, 0.33: 0.1, 0.34: 0.01, 0.66: 0.01, 0.67: 0.001, 0.999: 0.001}),
        ("multistep", {0: 0.1, 0.49: 0.1, 0.5: 0.01, 0.74: 0.01, 0.75: 0.001}),
        ("cosine", {0: 0.1, 0.5: 0.05, 1: 0}),
        ("onecycle", {0: 0.004, 0.1: 0.052, 0.2: 0.1, 0.6: 0.05, 1: 0}),
    ],
)
def test_learning_rate_follows_its_schedule(schedule, expected):
    recipe = replace(PLAIN, schedule=schedule)
    assert {done: learning_rate(recipe, done) for done in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0),
        ("learning_rate", -1),
        ("learning_rate", float("nan")),
        ("optimizer", "lion"),
        ("schedule", "linear"),
        ("momentum", 1),
        ("nesterov", True),
        ("momentum", -0.1),
        ("weight_decay", -0.1),
        ("label_smoothing", 1),
        ("shift", -1),
        ("validation_share", 0.6),
        ("least_steps", -1),
        ("low_frequencies", 1001),
        ("bias_share", 0),
        ("bias_share", 101),
        ("freeze_after", 0),
        ("freeze_after", 1.1),
        ("precision", "int8"),
        ("class_weights", "some"),
        ("patience", -1),
        ("patience", 3),
    ],
)
def test_an_impossible_value_is_refused_with_what_is_possible(field, value):
    with pytest.raises(RecipeError, match=f"{field.replace('_', ' ')} must be") as error:
        replace(PLAIN, **{field: value})
    assert "\n" not in str(error.value)


def test_another_optimizer_brings_its_own_values_unless_they_are_given():
    best = find_recipe("best", "conv")
    changed = change(best, {"optimizer": "sgd", "weight_decay": 0.0})
    assert (changed.learning_rate, changed.momentum, changed.nesterov) == (0.05, 0.9, True)
    assert changed.weight_decay == 0
    assert (changed.name, changed.epochs, changed.shift) == ("best, changed", best.epochs, best.shift)
    assert change(best, {"optimizer": "muon", "epochs": 3}).learning_rate == best.learning_rate


def test_without_momentum_there_is_no_nesterov():
    assert not change(find_recipe("fast", "conv"), {"momentum": 0.0}).nesterov


def test_nothing_changed_is_the_recipe_itself():
    assert change(PLAIN, {}) is PLAIN
