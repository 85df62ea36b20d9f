"""The command `clf-train`: parse, read, train, print."""

import os
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NoReturn, cast

import typer

from clf_runtime.commands.progress import following
from clf_runtime.commands.shell import one_line, say
from clf_runtime.commands.typer_app import make_app, run_app, show_version
from clf_runtime.model.geometry import USUAL, Fit, Geometry
from clf_train.commands.earlier import plan_to_repeat, plan_to_resume, refuse_combinations
from clf_train.commands.geometry import parse_colour, parse_size
from clf_train.errors import RecipeError, RunError, Stopped
from clf_train.loop.process import configure_process
from clf_train.loop.signals import stopping_on_signals
from clf_train.models.defaults import SMALL
from clf_train.models.recipe import (
    ClassWeights,
    Optimizer,
    Precision,
    Schedule,
    change,
)
from clf_train.models.registry import MODELS, Model, find_recipe, is_own, refuse_missing

NAME = "clf-train"
_OnOff = Literal["on", "off"]
_CHANGES = (
    *("epochs", "optimizer", "schedule", "learning_rate", "momentum", "nesterov", "batch_size", "weight_decay"),
    *("label_smoothing", "flip", "shift", "validation_share", "patience", "precision", "class_weights"),
)


def train(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images in any common layout, which is detected: folders of pictures, lists, arrays, "
            "tensors, tables, archives of them, or one of the words digits (embedded) and cifar10 (downloaded once).",
        ),
    ] = "digits",
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME]",
            help=f"What to train: {', '.join(MODELS)}, both (simple and conv), or your own as package.module:factory.",
        ),
    ] = "both",
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How to train: seed (the plain loops that the models came with), fast, or best (longer, for "
            "photographs: it flips images).",
        ),
    ] = "fast",
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the training images.")] = None,
    optimizer: Annotated[
        Optimizer | None, typer.Option(help="Sets its own rate, momentum and weight decay, unless given.")
    ] = None,
    schedule: Annotated[Schedule | None, typer.Option(help="Learning rate schedule.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="RATE", help="Maximum learning rate.")] = None,
    momentum: Annotated[float | None, typer.Option(metavar="FLOAT", help="Momentum of sgd and muon.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Images per step.")] = None,
    weight_decay: Annotated[
        float | None, typer.Option(metavar="FLOAT", help="Weight decay, as the optimizer defines it.")
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(metavar="FLOAT", help="Label smoothing, in 0..1.")] = None,
    nesterov: Annotated[_OnOff | None, typer.Option(help="Nesterov momentum of sgd.")] = None,
    flip: Annotated[_OnOff | None, typer.Option(help="Flip half of the images horizontally.")] = None,
    shift: Annotated[int | None, typer.Option(metavar="PIXELS", help="Shift images by up to this much.")] = None,
    validation_share: Annotated[
        float | None,
        typer.Option(metavar="FLOAT", help="Fraction of the training images held out to choose epoch and temperature."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(metavar="N", help="Stop after N epochs without improvement; 0: never.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="For few images: train K nets, each without a fold of the images, to measure accuracy and choose "
            "epoch and temperature; then one on all.",
        ),
    ] = None,
    open_set: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Measure whether new classes would be noticed: after the training, train small nets without K of the "
            "classes in turn, and ask them about those.",
        ),
    ] = None,
    class_weights: Annotated[
        ClassWeights | None, typer.Option(help="balanced: rare classes count as much as common ones.")
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(help="bf16: bfloat16 autocast, on CUDA or on a processor with AVX512-BF16 or AMX."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=2**32 - 1, help="Seed of weights and data order.")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="auto: CUDA if it works, else the CPU. cuda never falls back."),
    ] = "auto",
    names: Annotated[
        str | None,
        typer.Option(metavar="FILE|A,B,C", help="Class names: a file with one per line, or comma-separated."),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|HxW",
            help="Height and width in pixels that pictures get.  [default: 224 for efficientnet_lite0, 240 for "
            "efficientnet_lite1, else their own if all have one, else 64, or 32 for small ones]",
            show_default=False,
        ),
    ] = None,
    fit: Annotated[
        Fit, typer.Option(help="How pictures of another shape become so large: all of it, with bars, or the middle.")
    ] = USUAL.fit,
    background: Annotated[
        str, typer.Option(metavar="COLOUR", help="What shows through transparency and in bars: #rrggbb, white, black.")
    ] = "white",
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="Leave out pictures that cannot be read, and record which; else they are an error."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The run folder to create; with --show the PNG or its folder.  [default: a new one in artifacts/]",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out.")] = False,
    init: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Start from the weights of the run folder RUN, of the same model; with a new head where the classes "
            "differ.",
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Repeat the training of the run folder RUN: same images, recipe, seed and threads."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Resume the stopped or killed training of RUN.",
        ),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write scalars for TensorBoard.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Describe the source and write a sheet of samples, without training.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train small image classifiers on labelled images and compare them.

    Writes a run folder with the weights, run.json, metrics.csv, plots and report.html, which clf-export turns into an
    ONNX file. Without options it trains simple and conv on the embedded digits. Without --model, images larger than 64
    pixels train efficientnet_lite0, if its pretrained weights are installed. When stopped by Ctrl-C or a signal, it
    saves its state, from which --resume continues. With torchrun (torchrun --nproc-per-node=2 -m clf_train ...) several
    processes train together.

    Exit codes: 0 success; 2 any error; 130 or 143 stopped by SIGINT or SIGTERM.
    """
    configure_process()
    given = {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }
    changes = {name: context.params[name] for name in _CHANGES if name in given}
    changes.update({name: changes[name] == "on" for name in ("nesterov", "flip") if name in changes})
    size, geometry = parse_size(image_size), Geometry(fit, parse_colour(background))
    refuse_combinations(given, folds, open_set)
    begins_with = None
    if init is not None:  # of a run of one model, which then need not be named
        from clf_train.runs.init import find_init

        its_model, begins_with = find_init(init)
        model = model if "model" in given else its_model
        if model == its_model and is_own(model) and "model" not in given:
            raise RunError(f"{init}: is of the model {model}; to import code of that name, pass --model {model}")
    models = _models(model)
    recipes = {} if like or resume else {m: change(find_recipe(recipe, m), changes) for m in models}
    if init is None:
        refuse_missing(recipes)
    if tensorboard:
        from clf_train.report.tensorboard import check_installed

        check_installed()

    import torch

    from clf_train import training
    from clf_train.commands.images import choose_by_size, read_as_planned, read_for
    from clf_train.commands.progress import follow, follow_open_set
    from clf_train.commands.show import refuse_sheet, show_source, stem
    from clf_train.loop.device import select_device
    from clf_train.loop.distributed import check_same_images, join
    from clf_train.report import text as report
    from clf_train.runs.folder import free_name, refuse_early
    from clf_train.runs.output_place import refuse_among_images
    from clf_train.runs.plan import check_models, check_plan
    from clf_train.runs.run import folder_name

    # Whatever can be refused at once is refused before the images are read.
    plan = None
    own = models if "model" in given else ()
    if resume is not None:
        plan, out = plan_to_resume(resume)
        check_models(plan, own)
    elif like is not None:
        plan = plan_to_repeat(like, own, (lambda text: None) if quiet else partial(say, NAME))
    if plan is not None:
        device = "cuda" if plan.device == "cuda" else "cpu"
        folds, seed, open_set = plan.folds, plan.seed, plan.open_set
    chosen = "cpu" if show else select_device(device)[0].type
    with join(chosen) as world:
        quiet = quiet or not world.writes
        place = data if plan is None or "data" in given else plan.source
        if show:
            refuse_sheet(out, overwrite)
        elif resume is None and world.writes:
            refuse_among_images(out or Path("artifacts", "run"), place)
            if out is not None:
                refuse_early(out, overwrite)
        if not quiet:
            say(NAME, f"reading {place}")
        with following(NAME, quiet) as watch:
            if plan is not None:
                dataset = read_as_planned(place, plan, watch)
            else:
                if "model" not in given and init is None:
                    models, said = choose_by_size(place, size, recipe)
                    recipes = {m: change(find_recipe(recipe, m), changes) for m in models}
                    if said and not quiet:
                        say(NAME, said)
                asked = {"skip_bad": skip_bad, "undivided": folds is not None}
                dataset = read_for(place, names, recipes, begins_with, size, geometry, watch, **asked)
        if not quiet:
            for note in (*dataset.notes, *dataset.doubts):
                say(NAME, note)
        if show:
            show_source(dataset, out)
            return
        check_same_images(world, dataset.fingerprint)
        if plan is not None:
            check_plan(plan, dataset, world.size)
            recipes = plan.recipes
        if out is None:
            label = "-".join(folder_name(m) for m in recipes)
            out = free_name(Path("artifacts"), f"{stem(dataset.source)}-{label}-{datetime.now():%Y%m%d-%H%M%S}")
        with stopping_on_signals() as stop, ExitStack() as bars:
            on_start = follow(NAME, dataset, seed, bars, quiet, stop.asked, folds or 0)
            on_open_set = follow_open_set(NAME, bars, quiet, stop.asked)
            try:
                if resume is not None:
                    trained = training.resume(dataset, out, on_start=on_start, world=world, on_open_set=on_open_set)
                else:
                    if plan is not None:
                        torch.set_num_threads(plan.threads)
                    trained = training.train(
                        dataset,
                        recipes,
                        out,
                        device=device,
                        seed=seed,
                        overwrite=overwrite,
                        tensorboard=tensorboard,
                        on_start=on_start,
                        world=world,
                        init=begins_with if plan is None else plan.init,
                        folds=folds or 0,
                        open_set=open_set or 0,
                        on_open_set=on_open_set,
                    )
            except Stopped as stopped:
                bars.close()
                if world.writes:
                    say(NAME, str(stopped))
                raise typer.Exit(stop.exit_code()) from None
        if world.writes:
            for each in trained:
                print("\n".join(one_line(line) for line in report.text_report(each)) + "\n")
            print("\n".join(report.text_table(report.comparison_rows(trained))))
            print(f"run folder: {out}")


def _models(text: str) -> tuple[Model, ...]:
    models = SMALL if text == "both" else tuple(name.strip() for name in text.split(","))
    if not all(models):
        raise RecipeError(f"--model {text}: has an empty name")
    if len(set(models)) < len(models):
        raise RecipeError(f"--model {text}: has a model twice")
    return models


app = make_app(train)


def main() -> NoReturn:
    """Run `clf-train`."""
    try:
        run_app(app, NAME, "all")
    except SystemExit as end:
        if "RANK" in os.environ:
            # One of several processes exits at once: gloo's threads may still hold tensors, and can abort the process
            # while the interpreter shuts down (https://github.com/pytorch/pytorch/pull/179291).
            os._exit(cast(int, end.code))
        raise
