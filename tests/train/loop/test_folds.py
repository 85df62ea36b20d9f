"""A training in folds: what is chosen by them, what they say, and a run that is measured by them."""

from dataclasses import replace

import numpy as np
import pytest

from clf_train import Dataset, find_recipe, read_source, training
from clf_train.commands.train import main
from clf_train.errors import RecipeError, RunError, Stopped
from clf_train.evaluation.folds import Folds, has_failed, measure_folds
from clf_train.loop import folds
from clf_train.loop.checkpoint import Epoch
from clf_train.loop.fit import Watcher
from clf_train.loop.folds import Fold, best_epoch, refuse_folds
from clf_train.loop.head import nested
from clf_train.models.recipe import FAST
from clf_train.runs.run import read_run

pytestmark = pytest.mark.usefixtures("no_drawing")


def history(*accuracies):
    return tuple(Epoch(i, 1.0, 0.5, 0.1, 1.0, 1.0, 1.0 - a, a) for i, a in enumerate(accuracies, 1))


def test_the_epoch_is_the_best_of_all_folds_by_their_sizes():
    two = [Fold(history(0.5, 0.9, 0.6), np.empty(0)), Fold(history(0.9, 0.5, 0.6), np.empty(0))]
    assert best_epoch(two, np.array([10, 10])) in (1, 2)
    assert best_epoch(two, np.array([11, 10])) == 2
    assert best_epoch(two[1:], np.array([10])) == 1


def test_mean_spread_and_the_accuracy_of_all():
    scores = np.eye(2, dtype=np.float32)[[0, 0, 1, 1, 1]]
    found = measure_folds(scores, np.array([0, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1]), (3, 4), stands_in=True)
    assert (found.images, found.accuracies, found.accuracy, found.mean) == ((3, 2), (1.0, 0.5), 0.8, 0.75)
    assert found.deviation == pytest.approx(np.sqrt(0.125))


def test_a_net_that_knows_less_of_its_own_images_than_the_folds_has_failed():
    found = Folds((50, 50), (0.9, 0.9), (1, 1), 0.9, 0.9, 0.0, True)
    assert [has_failed(right, found) for right in (10, 74, 85, 100)] == [True, True, False, False]


def test_a_choice_by_the_others_does_not_flatter():
    """Labels and scores are noise: the best of many by the same images looks better than chance, that of others not."""
    random = np.random.default_rng(0)
    labels, fold = random.integers(0, 2, 400), np.arange(400) % 4
    scores = random.normal(size=(200, 400, 2))
    chosen = nested(scores, labels, fold, np.ones(400))
    flattered = max((some.argmax(1) == labels).mean() for some in scores)
    assert (chosen.argmax(1) == labels).mean() < 0.55 < flattered


def test_too_many_or_too_few_folds_are_refused():
    for count, images, classes, says in (
        (1, 100, 2, "folds must be 2 to 20"),
        (10, 9, 2, "9 images cannot be in 10"),
        (5, 1 << 24, 1000, "choose fewer --epochs"),
    ):
        with pytest.raises(RecipeError, match=says):
            refuse_folds(count, FAST, images, classes)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Noise with one channel brighter, 20 images of 3x16x16 a class; and the same with a test part."""
    folder = tmp_path_factory.mktemp("source")
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = random.integers(0, 200, (60, 3, 16, 16), dtype=np.uint8)
    images[np.arange(60), labels] += 30
    np.savez(folder / "all.npz", images=images, labels=labels)
    np.savez(
        folder / "split.npz", images=images[:40], labels=labels[:40], test_images=images[40:], test_labels=labels[40:]
    )
    return folder


def test_with_a_test_part_that_is_the_test(command, pictures, tmp_path):
    arguments = ("--data", str(pictures / "split.npz"), "--model", "conv", "--epochs", "4", "--folds", "2")
    ended = command(main, *arguments, "--out", str(tmp_path / "run"), "--quiet")
    assert ended.code == 0, ended.err
    run = read_run(tmp_path / "run")
    assert (run.test.images, run.data.train_images, run.data.test_images, run.has_test) == (20, 40, 20, True)
    assert run.folds.images == (20, 20)
    assert "conv: test accuracy" in ended.out
    again = command(main, "--like", str(tmp_path / "run"), "--out", str(tmp_path / "again"), "--quiet")
    assert again.code == 0, again.err
    assert (tmp_path / "run/weights.safetensors").read_bytes() == (tmp_path / "again/weights.safetensors").read_bytes()


def test_it_is_gone_on_with_after_the_last_fold_that_was_done(pictures, tmp_path, monkeypatch):
    dataset: Dataset = read_source(pictures / "all.npz", undivided=True)
    recipes = {"conv": replace(find_recipe("fast", "conv"), epochs=3, least_steps=0)}
    [whole] = training.train(dataset, recipes, tmp_path / "whole", folds=3)
    asked = []

    def stop_in_the_second(model, recipe, device):
        return Watcher(stopping=lambda: len(asked) > 0, note=asked.append)

    with pytest.raises(Stopped, match="resume with: clf-train --resume"):
        training.train(dataset, recipes, tmp_path / "run", folds=3, on_start=stop_in_the_second)
    assert [file.name for file in (tmp_path / "run.partial").glob("fold-*")] == ["fold-1.npz"]
    begun = []
    fit_one = folds._fit_one
    monkeypatch.setattr(folds, "_fit_one", lambda *given: begun.append(1) or fit_one(*given))
    damaged = (tmp_path / "run.partial" / "fold-1.npz").read_bytes()
    (tmp_path / "run.partial" / "fold-1.npz").write_bytes(damaged[:300] + b"x" + damaged[301:])
    with pytest.raises(RunError, match=r"fold-1\.npz: damaged"):
        training.resume(dataset, tmp_path / "run")
    (tmp_path / "run.partial" / "fold-1.npz").write_bytes(damaged)
    [run] = training.resume(dataset, tmp_path / "run")
    assert len(begun) == 2
    assert (run.weights_sha256, run.folds, run.temperature) == (whole.weights_sha256, whole.folds, whole.temperature)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--folds", "1"], "--folds must be 2 to 20, not 1"),
        (["--folds", "5", "--validation-share", "0.1"], "--validation-share cannot be combined with --folds"),
        (["--folds", "5", "--patience", "3"], "--patience cannot be combined with --folds"),
        (["--folds", "5", "--like", "run"], "--folds cannot be combined with --like"),
    ],
)
def test_what_does_not_go_with_folds_is_refused(command, tmp_path, arguments, says):
    ended = command(main, *arguments, "--out", str(tmp_path / "run"))
    assert (ended.code, says in ended.err) == (2, True)


def test_a_source_that_was_divided_is_not_for_folds(pictures, tmp_path):
    for undivided, count in ((False, 3), (True, 0)):
        dataset = read_source(pictures / "all.npz", undivided=undivided)
        with pytest.raises(RecipeError, match="read undivided"):
            training.train(dataset, {"conv": FAST}, tmp_path / "run", folds=count)
