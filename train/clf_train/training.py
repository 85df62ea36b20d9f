"""One training, from a dataset to a run folder."""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clf_train.data.dataset import Dataset
from clf_train.data.preparation import fit_recipe, validation_rows
from clf_train.errors import ProcessLost, RecipeError, RunError, Stopped, TrainError
from clf_train.evaluation.folds import temperature_of
from clf_train.loop import checkpoint, probe
from clf_train.loop.checkpoint import Epoch
from clf_train.loop.device import Device, computes_bfloat16, select_device
from clf_train.loop.distributed import ALONE, World, explaining_process_loss
from clf_train.loop.exact import exact
from clf_train.loop.fit import Watcher, fit
from clf_train.loop.fitted import Fit, OutOfFold
from clf_train.loop.folds import FILES, fit_folds, refuse_folds
from clf_train.loop.head import FOLDS, fit_head, spare_few
from clf_train.loop.net_errors import explaining_net_errors
from clf_train.loop.rebuild import rehearse
from clf_train.models.own import softmax_hint
from clf_train.models.recipe import Recipe
from clf_train.models.registry import Model, find_architecture, is_own
from clf_train.open_set import OnOpenSet, refuse_early, silent, with_open_set
from clf_train.report import page
from clf_train.report.tensorboard import scalars
from clf_train.runs import plan
from clf_train.runs.advice import resume_command
from clf_train.runs.folder import holds_state, new_folder, partial_of, refuse_nothing
from clf_train.runs.init import start_net, start_normalisation
from clf_train.runs.metrics_file import add_epoch, write_metrics
from clf_train.runs.output_place import refuse_among_images
from clf_train.runs.plan import Plan, read_plan, write_plan
from clf_train.runs.run import RECORD, Init, Run, folder_name, read_run
from clf_train.scoring import score

OnStart = Callable[[Model, Recipe, str], Watcher]


def _silent(model: Model, recipe: Recipe, device: str) -> Watcher:
    return Watcher()


def train(
    dataset: Dataset,
    recipes: Mapping[Model, Recipe],
    folder: Path,
    *,
    device: Device = "auto",
    seed: int = 0,
    overwrite: bool = False,
    tensorboard: bool = False,
    on_start: OnStart = _silent,
    world: World = ALONE,
    init: Init | None = None,
    folds: int = 0,
    open_set: int = 0,
    on_open_set: OnOpenSet = silent,
) -> list[Run]:
    """Train each model by its recipe, test it, and write the run folder; returns the runs in the order of `recipes`.

    A single model's run is `folder` itself; several models have subfolders of their names, beside `comparison.html`.
    `on_start` is called with the model, its recipe and the device, and returns the watcher of the training. Until the
    end everything is in `<folder>.partial`, with the state to resume from. In a `world` of several processes rank 0
    writes, and the others return no runs. `init` is a run whose weights the nets start from: see init.py. With `folds`
    so many nets are trained first, each without a fold of the images, to measure and to choose the epochs by; then the
    net of the run on all. The dataset must have been read `undivided` for that. With `open_set` each model is, once all
    are trained, trained without so many classes at a time, to measure whether new ones are noticed: see open_set.py.
    Raises RunError if the folder exists already or is among the images, RecipeError if a recipe does not fit the
    images, DeviceError if the device does not work, Stopped if a watcher asks for it, TrainError if the loss is NaN or
    a file cannot be written, MissingExtraError if pretrained weights are not installed; the last saved state is kept.
    """
    refuse_among_images(folder, dataset.source)
    _, height, width = dataset.image_shape
    for recipe in recipes.values():
        if recipe.shift > min(height, width) // 2:
            raise RecipeError(
                f"shift {recipe.shift} is more than half the size of the images, {height}x{width}; choose at most "
                f"{min(height, width) // 2}"
            )
    if init is not None:  # whose first layer is what it begins with
        recipes = {model: replace(recipe, whiten=False) for model, recipe in recipes.items()}
    chosen, _ = select_device(device, world.local_rank)
    if open_set:
        refuse_early(open_set, len(dataset.names), world.size, init)
    if folds or dataset.undivided:
        recipes = _folded(recipes, dataset, folds, seed, world)
    wanted = Plan(
        plan.SCHEMA,
        dataset.source,
        dataset.names,
        dataset.fingerprint,
        (height, width),
        dataset.geometry,
        {m: spare_few(fit_recipe(recipe, dataset, seed), dataset, seed) for m, recipe in recipes.items()},
        seed,
        chosen.type,
        torch.get_num_threads(),
        world.size,
        overwrite,
        tensorboard,
        bool(dataset.skipped),
        dataset.as_before,
        init,
        folds,
        open_set,
    )
    return _carry_out(wanted, dataset, folder, on_start, on_open_set, world, resume=False)


def _folded(
    recipes: Mapping[Model, Recipe], dataset: Dataset, folds: int, seed: int, world: World
) -> dict[Model, Recipe]:
    """The recipes of a training in folds, which stand in for a validation share. Raises RecipeError if it is none."""
    if not (folds and dataset.undivided):
        raise RecipeError("folds are for a source that was read undivided, and such a source is for folds")
    if world.size > 1:
        raise RecipeError("folds are trained by one process: start clf-train without torchrun")
    changed = {model: replace(recipe, validation_share=0.0, patience=0) for model, recipe in recipes.items()}
    for recipe in changed.values():
        refuse_folds(folds, fit_recipe(recipe, dataset, seed), len(dataset.train), len(dataset.names))
    return changed


def resume(
    dataset: Dataset,
    folder: Path,
    *,
    on_start: OnStart = _silent,
    world: World = ALONE,
    on_open_set: OnOpenSet = silent,
) -> list[Run]:
    """Resume a training that was stopped or killed; the result is bit-identical to an uninterrupted one.

    `folder` is the training's run folder; `dataset` holds its images (see plan.check_plan).
    Raises as `train` does, and RunError if there is no stopped training.
    """
    refuse_nothing(folder.resolve())
    wanted = read_plan(partial_of(folder.resolve()))
    torch.set_num_threads(wanted.threads)
    return _carry_out(wanted, dataset, folder, on_start, on_open_set, world, resume=True)


def _carry_out(
    wanted: Plan,
    dataset: Dataset,
    folder: Path,
    on_start: OnStart,
    on_open_set: OnOpenSet,
    world: World,
    *,
    resume: bool,
) -> list[Run]:
    for recipe in wanted.recipes.values():
        if recipe.precision == "bf16" and not computes_bfloat16(wanted.device):
            raise RecipeError(
                "precision bf16 needs CUDA or a processor with AVX512-BF16 or AMX, but this training runs on the CPU, "
                "which has neither as far as PyTorch can tell; choose float32"
            )
        if recipe.batch_size < world.size:
            raise RecipeError(f"batch size must be at least {world.size} for {world.size} processes")
    names = [folder_name(model) for model in wanted.recipes]
    if len(set(names)) < len(names):
        raise RecipeError(f"two models have the name {max(names, key=names.count)}; train them separately")
    for model, recipe in wanted.recipes.items():  # a model that cannot be built leaves no folder
        net, _ = start_net(model, dataset, wanted.init)
        if is_own(model):
            with explaining_net_errors(model):
                images = probe.choose_images(dataset, wanted.seed)
                normalise = start_normalisation(model, dataset, recipe, wanted.init)
                rehearse(net, model, dataset, normalise, images)
    runs: list[Run] = []
    opening = new_folder(folder, overwrite=wanted.overwrite, resume=resume) if world.writes else nullcontext()
    with opening as partial:
        try:
            if partial is not None and not resume:
                write_plan(partial, wanted)
            for model in wanted.recipes:
                place = None if partial is None else _place(wanted, partial, model)
                with explaining_process_loss(), exact(wanted.device):
                    run = _train_one(wanted, dataset, model, place, on_start, world)
                runs += [run] if run else []
            if partial is not None and wanted.open_set:
                runs = [
                    with_open_set(run, dataset, wanted.open_set, _place(wanted, partial, run.model), on_open_set)
                    for run in runs
                ]
            if partial is not None and len(runs) > 1:
                (partial / "comparison.html").write_text(page.comparison_page(runs, partial), "utf-8")
        except (OSError, TrainError) as error:
            raise _with_advice(error, folder, partial, wanted) from None
    return runs


def _place(wanted: Plan, partial: Path, model: Model) -> Path:
    """The folder of a model's run, which is made."""
    place = partial if len(wanted.recipes) == 1 else partial / folder_name(model)
    place.mkdir(exist_ok=True)
    return place


def _with_advice(error: Exception, folder: Path, partial: Path | None, wanted: Plan) -> Exception:
    """The error with how to resume, if there is a state to resume from."""
    kept = partial is not None and holds_state(partial)
    go_on = f"resume with: {resume_command(folder, wanted)}"
    if isinstance(error, Stopped):
        return Stopped(error.epoch, f"; {go_on}" if kept else "")
    if isinstance(error, OSError):
        text = f"{error.filename or partial}: cannot be written: {error.strerror or error}"
        return TrainError(f"{text}; the last saved state is kept: free disk space, then {go_on}" if kept else text)
    if isinstance(error, ProcessLost):
        return ProcessLost(f"{error}; {go_on}" if kept else str(error))
    if kept and type(error) is TrainError:
        return TrainError(f"{error}; train again with --overwrite; the last valid state is in {partial}")
    return error


def _finished(wanted: Plan, model: Model, place: Path) -> Run:
    """The run of a model that was finished before the stop. Raises RunError if it belongs to another training."""
    run = read_run(place)
    found = (run.model, run.recipe, run.seed, run.names, run.data.fingerprint)
    if found != (model, wanted.recipes[model], wanted.seed, wanted.names, wanted.fingerprint):
        raise RunError(f"{place}: belongs to another training than {plan.FILE} beside it; train again with --overwrite")
    return run


def _train_one(
    wanted: Plan, dataset: Dataset, model: Model, place: Path | None, on_start: OnStart, world: World
) -> Run | None:
    """Fit one model, unless it is finished, and write its run into `place`; returns the run on rank 0."""
    recipe, seed = wanted.recipes[model], wanted.seed
    done = place is not None and (place / RECORD).is_file()
    if world.broadcast((float(done),))[0]:
        if place is not None:
            _remove_states(place)  # a kill may have left some beside the finished run
        return _finished(wanted, model, place) if place is not None else None
    device, device_name = select_device("cuda" if wanted.device == "cuda" else "cpu", world.local_rank)
    net, begins_with = _begin(wanted, dataset, model, device)
    normalise = start_normalisation(model, dataset, recipe, wanted.init)
    held_out = validation_rows(dataset, recipe, seed)
    state_file = None if place is None else place / checkpoint.FILE
    watcher = on_start(model, recipe, device_name)
    if is_own(model) and (said := softmax_hint(net, dataset.image_shape)):
        watcher.note(f"{model}: {said}")
    if begins_with:
        watcher.note(f"{model}: {begins_with}")
    with scalars(place if wanted.tensorboard else None) as log:

        def begin(behind: Sequence[Epoch]) -> None:
            if place is not None:
                write_metrics(place, behind)
            watcher.begin(behind)

        def epoch_done(epoch: Epoch) -> None:
            if place is not None:
                add_epoch(place, epoch)
            watcher.epoch(epoch)
            log(epoch)

        watched = replace(watcher, epoch=epoch_done, begin=begin)
        head: Fit | None = None
        folded: tuple[OutOfFold, int] | None = None
        tricks = find_architecture(model).tricks
        with explaining_net_errors(model):
            if wanted.folds and recipe.epochs:

                def make_net() -> nn.Module:
                    return _begin(wanted, dataset, model, device)[0]

                folded = fit_folds(
                    make_net,
                    dataset.train,
                    wanted.folds,
                    recipe,
                    normalise,
                    device,
                    seed,
                    replace(watcher, epoch=lambda epoch: None),
                    place,
                    tricks,
                )
                net = make_net()
            if recipe.fit_head:  # short enough to be done again by a training that is gone on with
                head = fit_head(
                    net, dataset.train, normalise, device, seed, watched, held_out, recipe, wanted.folds or FOLDS
                )
            if head is not None and not recipe.epochs:
                fitted = head
                watched.begin(())
                watched.epoch(fitted.history[0])
            else:
                fitted = fit(
                    net,
                    dataset.train,
                    recipe,
                    normalise,
                    device,
                    seed,
                    watched,
                    held_out,
                    state_file,
                    world,
                    probe.choose_images(dataset, seed),
                    tricks,
                    folded[1] if folded else None,
                )
                fitted = replace(fitted, head=head.head if head else None)
            if folded is not None:
                temperature = temperature_of(folded[0].scores, dataset.train.labels)
                fitted = replace(fitted, temperature=temperature, out_of_fold=folded[0])
    if place is None:
        return None
    run = score(wanted, dataset, model, net, normalise, held_out, fitted, device, device_name, place)
    _remove_states(place)
    return run


def _begin(wanted: Plan, dataset: Dataset, model: Model, device: torch.device) -> tuple[nn.Module, str]:
    """A net on `device` as its training begins, with all generators seeded, and what it begins with: see start_net."""
    torch.manual_seed(wanted.seed)
    random.seed(wanted.seed)  # this and the next one for users' own nets
    np.random.seed(wanted.seed)
    net, begins_with = start_net(model, dataset, wanted.init)
    return net.to(device), begins_with


def _remove_states(place: Path) -> None:
    for file in (place / checkpoint.FILE, *place.glob(FILES)):
        file.unlink(missing_ok=True)
