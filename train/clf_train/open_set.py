"""How often classes would be noticed that a model does not know: it is trained without some of them, and asked.

This follows the training, and changes nothing of its net: run.json and the report get what was found. Each round is
kept until all are done, so that a training that is resumed does not do it again.
"""

import random
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clf_runtime.evaluation.open_set import listed, open_set_summary
from clf_runtime.model.open_set import OpenSet
from clf_train.data.dataset import Dataset
from clf_train.data.preparation import validation_rows
from clf_train.errors import RecipeError, RunError, Stopped, TrainError
from clf_train.evaluation.open_set import SCHEMA, Round, measure_round, together, without_figures
from clf_train.loop.device import select_device
from clf_train.loop.fit import Watcher
from clf_train.loop.head import features
from clf_train.loop.left_out import (
    Scores,
    choose_rounds,
    choose_rows,
    fit_heads_without,
    refuse_open_set,
    shorten,
    train_without,
)
from clf_train.loop.net_errors import explaining_net_errors
from clf_train.models.registry import Model, build_model, find_architecture
from clf_train.runs.records import read_record, write_record
from clf_train.runs.run import Init, Run
from clf_train.scoring import add_open_set

FILES = "open-set-*.json"  # of the rounds that are done, until all are
OnOpenSet = Callable[[Model, str, int], Watcher]  # the model, what is about to be done, and how many images it takes
_Scoring = Callable[[int, Watcher], Scores]  # the number of the round


def silent(model: Model, said: str, images: int) -> Watcher:
    """Watch nothing."""
    return Watcher()


def refuse_early(at_once: int, classes: int, processes: int, init: Init | None) -> None:
    """Raise RecipeError if so many of the classes cannot be left out at a time in a training like this."""
    refuse_open_set(at_once, classes)
    if init is not None:
        raise RecipeError("no class can be left out with init: the weights it begins with may know it")
    if processes > 1:
        raise RecipeError("--open-set trains by one process: start clf-train without torchrun")


def with_open_set(run: Run, dataset: Dataset, at_once: int, place: Path, on_start: OnOpenSet) -> Run:
    """A finished run in the folder `place` with what is measured of left-out classes, unless it has that already.

    Raises Stopped if the watcher asks for it, DeviceError if its device does not work, OSError as the system does.
    """
    if run.open_set is None:
        device, _ = select_device("cuda" if run.device.startswith("cuda") else "cpu")
        run = add_open_set(run, _measure(run, dataset, at_once, place, device, on_start), place)
    for file in place.glob(FILES):
        file.unlink()
    return run


def _measure(
    run: Run, dataset: Dataset, at_once: int, place: Path, device: torch.device, on_start: OnOpenSet
) -> OpenSet:
    """Train a finished run's model without each class, `at_once` of them at a time, and ask it about their images.

    None of them is a test image. Rounds that are done are kept in `place`. One whose training fails has no figures, and
    the watcher is told.
    """
    rounds = choose_rounds(len(run.names), at_once, run.seed)
    prepare = _heads if run.recipe.fit_head and not run.recipe.epochs else _nets
    ask, epochs, images = prepare(run, dataset, rounds, device)
    kind = (
        f"{len(rounds)} nets, {epochs} epoch{'s' * (epochs != 1)} each" if epochs else f"{len(rounds)} heads in folds"
    )
    said = f"leaving out {at_once} of {len(run.names):,} classes at a time, {kind}: {_about(run, images)}"
    watcher = on_start(run.model, said, sum(images))
    done: list[Round] = []
    for number, left_out in enumerate(rounds):
        file = place / FILES.replace("*", str(number + 1))
        if (one := _read(file, left_out)) is None:
            one = _ask(run, dataset, number, left_out, ask, watcher)
            write_record(file, one)
            watcher.note(f"{run.model}, {number + 1} of {len(rounds)} without {listed(run.names, left_out)}")
        else:
            watcher.step(1, images[number], float("nan"))
        done.append(one)
    found = together(done, at_once, epochs)
    watcher.note(f"{run.model}: {open_set_summary(found, run.names)}")
    return found


def _ask(run: Run, dataset: Dataset, number: int, left_out: tuple[int, ...], ask: _Scoring, watcher: Watcher) -> Round:
    begun = time.perf_counter()
    labels = dataset.train.labels
    try:
        with explaining_net_errors(run.model):
            known, right, foreign, which = ask(number, watcher)
    except Stopped:
        watcher.note(f"{run.model}: its training is finished, but not what it says of new classes")
        raise
    except TrainError as error:  # the run is complete without
        watcher.note(f"{run.model} without {listed(run.names, left_out)}: {error}; so it cannot tell of them")
        counts = [int((labels == label).sum()) for label in left_out]
        return without_figures(left_out, counts, time.perf_counter() - begun)
    return measure_round(left_out, known, right, foreign, which, time.perf_counter() - begun)


def _nets(
    run: Run, dataset: Dataset, rounds: Sequence[tuple[int, ...]], device: torch.device
) -> tuple[_Scoring, int, list[int]]:
    """Rounds in each of which a net is trained, their epochs, and how many images each takes."""
    held_out = validation_rows(dataset, run.recipe, run.seed)
    rows = [choose_rows(dataset.train.labels, left_out, held_out, i, run.seed) for i, left_out in enumerate(rounds)]
    recipe = shorten(run.recipe, min(len(each.fitted) for each in rows))
    tricks = find_architecture(run.model).tricks

    def ask(number: int, watcher: Watcher) -> Scores:
        def make_net(classes: int) -> nn.Module:
            return _new_net(run, classes).to(device)

        quiet = Watcher(step=watcher.step, stopping=watcher.stopping)
        return train_without(
            make_net, dataset.train, rows[number], recipe, run.normalisation, device, run.seed, quiet, tricks
        )

    return ask, recipe.epochs, [recipe.epochs * len(each.fitted) for each in rows]


def _heads(
    run: Run, dataset: Dataset, rounds: Sequence[tuple[int, ...]], device: torch.device
) -> tuple[_Scoring, int, list[int]]:
    """Rounds in each of which only the head is fitted, to features that are computed in the first."""
    split, head = dataset.train, run.head
    assert head is not None

    @cache
    def computed(watcher: Watcher) -> np.ndarray:
        net = _new_net(run, len(run.names)).to(device)
        return features(net, split.images, run.normalisation, device, watcher)

    def ask(number: int, watcher: Watcher) -> Scores:
        x = computed(watcher)
        return fit_heads_without(x, split.labels, rounds[number], head.penalty, run.recipe, run.seed, watcher.stopping)

    return ask, 0, [len(split)] + [0] * (len(rounds) - 1)


def _new_net(run: Run, classes: int) -> nn.Module:
    """A net as the run's training began, for so many classes, with all generators seeded."""
    torch.manual_seed(run.seed)
    random.seed(run.seed)  # this and the next one for users' own nets
    np.random.seed(run.seed)
    net = build_model(run.model, run.image_shape, classes)
    find_architecture(run.model).load(net)
    return net


def _about(run: Run, images: Sequence[int]) -> str:
    """How long it will take: as long for so many images as the training did."""
    seconds = sum(images) / (len(run.history) * run.data.train_images) * run.seconds
    return f"about {seconds:.0f} s" if seconds < 120 else f"about {seconds / 60:.0f} minutes"


def _read(file: Path, left_out: tuple[int, ...]) -> Round | None:
    """A round that was done before the training was stopped; None if there is none that can be read."""
    try:
        one: Round = read_record(Round, file, SCHEMA)
    except RunError:
        return None
    return one if one.left_out == left_out else None
