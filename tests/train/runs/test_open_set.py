"""clf-train --open-set: what a run then says of classes that it does not know."""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from clf_train import find_recipe, open_set, read_source, training
from clf_train.commands.train import main
from clf_train.errors import RecipeError, Stopped, TrainError
from clf_train.loop.fit import Watcher
from clf_train.runs.plan import plan_like
from clf_train.runs.run import read_run

pytestmark = pytest.mark.usefixtures("no_drawing")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Noise with a bright corner, another for each of four classes: 60 training and 10 test images a class."""
    file = tmp_path_factory.mktemp("source") / "corners.npz"
    random = np.random.default_rng(0)
    labels = np.arange(280) % 4
    images = random.integers(0, 100, (280, 3, 16, 16), dtype=np.uint8)
    for label in range(4):
        top, left = 8 * (label // 2), 8 * (label % 2)
        images[labels == label, :, top : top + 8, left : left + 8] += 120
    parts = {"images": images[:240], "labels": labels[:240], "test_images": images[240:], "test_labels": labels[240:]}
    np.savez(file, **parts, names=np.array(["north", "east", "south", "west"]))
    return file


def recipes(*models):
    return {model: replace(find_recipe("fast", model), epochs=3, least_steps=0) for model in models}


def test_the_run_the_page_and_the_terminal_say_what_was_found(command, source, tmp_path):
    out = tmp_path / "run"
    options = ("--data", source, "--model", "simple,conv", "--epochs", 3, "--open-set", 2, "--out", out)
    ended = command(main, *options)
    assert ended.code == 0, ended.err
    assert "conv, leaving out 2 of 4 classes at a time, 2 nets, 3 epochs each: about " in ended.err
    assert "classes left out: noticed" in ended.out
    for model in ("simple", "conv"):
        run = read_run(out / model)
        assert (run.open_set.at_once, run.open_set.images, run.open_set.told) == (2, (60,) * 4, (0, 1, 2, 3))
        assert "Classes that it does not know" in (out / model / "report.html").read_text("utf-8")
        assert list((out / model).glob("open-set*")) == []
        assert plan_like([run]).open_set == 2
    plain = training.train(read_source(source), {"conv": read_run(out / "conv").recipe}, tmp_path / "plain")
    assert plain[0].weights_sha256 == read_run(out / "conv").weights_sha256
    assert plain[0].open_set is None


def test_what_was_stopped_goes_on_after_the_last_round(source, tmp_path, monkeypatch):
    dataset, said, asked = read_source(source), [], []
    whole = training.train(dataset, recipes("conv"), tmp_path / "whole", open_set=1)

    def watch(model, text, images):
        return Watcher(note=said.append, stopping=lambda: len(said) > 1)

    with pytest.raises(Stopped, match="resume with: clf-train --resume"):
        training.train(dataset, recipes("conv"), tmp_path / "run", open_set=1, on_open_set=watch)
    assert said[-1] == "conv: its training is finished, but not what it says of new classes"
    trained = read_run(tmp_path / "run.partial")
    assert (trained.open_set, trained.weights_sha256) == (None, whole[0].weights_sha256)
    assert len(list((tmp_path / "run.partial").glob("open-set-*.json"))) == 2
    ask = open_set._ask
    monkeypatch.setattr(open_set, "_ask", lambda *given: asked.append(given[2]) or ask(*given))
    (tmp_path / "run.partial" / "open-set-1.json").write_text("{")  # as after a power failure
    [run] = training.resume(dataset, tmp_path / "run")
    assert asked == [0, 2, 3]
    assert replace(run.open_set, seconds=0) == replace(whole[0].open_set, seconds=0)
    assert run == read_run(tmp_path / "run")


def test_a_round_that_fails_says_nothing_of_its_classes(source, tmp_path, monkeypatch):
    said, train_without = [], open_set.train_without

    def fail(make_net, split, rows, *others):
        if 0 in split.labels[rows.foreign]:
            raise TrainError("the loss became nan")
        return train_without(make_net, split, rows, *others)

    monkeypatch.setattr(open_set, "train_without", fail)
    watch = lambda *given: Watcher(note=said.append)  # noqa: E731
    [run] = training.train(read_source(source), recipes("conv"), tmp_path / "run", open_set=1, on_open_set=watch)
    assert run.open_set.told == (1, 2, 3)
    assert "conv without north: the loss became nan; so it cannot tell of them" in said
    assert "it cannot tell of north" in said[-1]


def test_a_net_of_the_user_that_cannot_have_fewer_classes(source, tmp_path, monkeypatch):
    (tmp_path / "four_only.py").write_text(
        "from torch import nn\ndef net(image_shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], 4))\n"
    )
    monkeypatch.chdir(tmp_path)
    model = "four_only:net"
    [run] = training.train(read_source(source), recipes(model), tmp_path / "run", open_set=2)
    assert run.open_set.told == ()
    assert run.test.accuracy > 0.5


def test_in_folds_and_with_class_weights(source, tmp_path):
    dataset = read_source(source, undivided=True)
    changed = {"conv": replace(recipes("conv")["conv"], class_weights="balanced")}
    [run] = training.train(dataset, changed, tmp_path / "run", folds=2, open_set=2)
    assert run.open_set.known == 2 * 120 // 5  # a fifth of the 120 images of the two known classes, in each round
    assert run.folds is not None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--open-set", "0"], "--open-set must be 1 or more"),
        (["--open-set", "3"], "--open-set must be 1 to 2 of 4 classes, not 3"),
        (["--open-set", "1", "--init", "run"], "--init cannot be combined with --open-set: the weights"),
        (["--open-set", "1", "--like", "run"], "--open-set cannot be combined with --like"),
        (["--open-set", "1", "--show"], "--show cannot be combined with --open-set"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(command, source, tmp_path, arguments, says):
    ended = command(main, "--data", source, "--model", "conv", *arguments, "--out", tmp_path / "run")
    assert (ended.code, says in ended.err) == (2, True), ended.err
    assert not list(tmp_path.iterdir())


def test_two_classes_leave_nothing_to_tell_and_processes_are_not_for_it(command, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), np.uint8)
    np.savez(tmp_path / "two.npz", images=images, labels=np.arange(40) % 2)
    ended = command(main, "--data", tmp_path / "two.npz", "--open-set", 1, "--out", tmp_path / "run")
    assert (ended.code, "needs three classes or more, here are 2" in ended.err) == (2, True)
    np.savez(tmp_path / "four.npz", images=images, labels=np.arange(40) % 4)
    world = replace(training.ALONE, size=2)
    with pytest.raises(RecipeError, match="without torchrun"):
        training.train(read_source(tmp_path / "four.npz"), recipes("conv"), tmp_path / "run", open_set=1, world=world)


def test_a_run_that_contradicts_itself_is_refused(source, tmp_path):
    [run] = training.train(read_source(source), recipes("conv"), tmp_path / "run", open_set=2)
    with pytest.raises(ValueError, match="open_set must be with each class left out once"):
        replace(run, open_set=replace(run.open_set, rounds=((0, 1), (1, 2))))


def test_a_run_of_before_left_out_classes_is_read(source, tmp_path):
    training.train(read_source(source), recipes("conv"), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    for name in ("open_set", "sha256"):
        del record[name]
    record["schema"] = 6
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    file.write_text(json.dumps({**record, "sha256": sha256(text.encode()).hexdigest()}))
    assert read_run(tmp_path / "run").open_set is None
