"""The command `clf-train`: parse, read, train, print."""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from clf_runtime.command import make_app, one_line, run, say, show_version
from clf_train.recipe import MODELS, Model, Optimizer, Recipe, Schedule, change, find_recipe

if TYPE_CHECKING:
    from clf_train.dataset import Dataset

NAME = "clf-train"


def train(
    data: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images: a folder of the four torch.save tensors, class-named folders of PNG or JPEG, "
            "CIFAR-10's binary or python version (packed or not), .npz files, or one of the words digits (embedded) "
            "and cifar10 (downloaded once). The layout is found by looking.",
        ),
    ] = "digits",
    model: Annotated[Literal["simple", "conv", "both"], typer.Option(help="What to train.")] = "both",
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How: seed (the plain loops that the models came with), fast, or best (longer, for photographs: it "
            "mirrors images).",
        ),
    ] = "fast",
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the training images.")] = None,
    optimizer: Annotated[
        Optimizer | None, typer.Option(help="Brings its own rate, momentum and weight decay, unless they are given.")
    ] = None,
    schedule: Annotated[Schedule | None, typer.Option(help="How the learning rate moves.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="RATE", help="Its highest value.")] = None,
    momentum: Annotated[float | None, typer.Option(metavar="SHARE", help="Of sgd and muon.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Images a step.")] = None,
    weight_decay: Annotated[float | None, typer.Option(metavar="SHARE", help="Pull of the weights to zero.")] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of each label, spread over all.")
    ] = None,
    shift: Annotated[int | None, typer.Option(metavar="PIXELS", help="Move images by up to so much.")] = None,
    validation_share: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Of the training images, held out to choose the epoch and the temperature."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(metavar="N", help="Stop after N epochs without a better one; 0 never does.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=2**32 - 1, help="Of weights and order.")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="auto takes CUDA when it works, else the CPU; cuda never falls back."),
    ] = "auto",
    names: Annotated[
        str | None,
        typer.Option(metavar="FILE|A,B,C", help="Class names, one a line in a file, or with commas between."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The run folder to make; with --show the PNG.  [default: a new one below artifacts/]"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there under --out.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Describe the source and draw a sheet of samples; train nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Fit small image classifiers to labelled images and compare them.

    Leaves a run folder with the weights, run.json, metrics.csv, plots and report.html; clf-export makes an ONNX file
    of it. Without options it trains both models on the embedded digits.

    Exit codes: 0 all well; 2 any error.
    """
    changes: dict[str, Any] = {
        "epochs": epochs,
        "optimizer": optimizer,
        "schedule": schedule,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "batch_size": batch_size,
        "weight_decay": weight_decay,
        "label_smoothing": label_smoothing,
        "shift": shift,
        "validation_share": validation_share,
        "patience": patience,
    }
    changes = {key: value for key, value in changes.items() if value is not None}
    models: tuple[Model, ...] = MODELS if model == "both" else (model,)
    recipes = {m: change(find_recipe(recipe, m), changes) for m in models}

    # OpenMP's threads sleep while they wait: where another program runs too, waiting busily costs nearly all the speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from clf_train.device import select_device
    from clf_train.run import free_name, refuse_existing
    from clf_train.sources import read_source

    # What can be refused at once is not refused after minutes of reading.
    if not show:
        select_device(device)
    if out is not None and not (show and (out.is_dir() or overwrite)):
        refuse_existing(out, overwrite)
    if not quiet:
        say(NAME, f"reading {data}")
    dataset = read_source(data, names)
    if not quiet:
        for note in dataset.notes:
            say(NAME, note)
    if show:
        _show(dataset, _sheet_file(dataset, out))
        return

    from clf_train import report
    from clf_train.training import train as run_training

    if out is None:
        out = free_name(Path("artifacts"), f"{_stem(dataset.source)}-{model}-{datetime.now():%Y%m%d-%H%M%S}")
    with ExitStack() as bars:
        runs = run_training(
            dataset,
            recipes,
            out,
            device=device,
            seed=seed,
            overwrite=overwrite,
            on_start=_progress(dataset, bars, quiet),
        )
    for each in runs:
        print("\n".join(one_line(line) for line in report.text_report(each)) + "\n")
    print("\n".join(report.text_table(report.comparison_rows(runs))))
    print(f"run folder: {out}")


def _progress(dataset: "Dataset", bars: ExitStack, quiet: bool) -> Callable[[Model, Recipe, str], Any]:
    """A progress bar for each model: epoch, loss, images per second. It is off when stderr is no terminal."""

    def on_start(model: Model, recipe: Recipe, device: str) -> Callable[[int, int, float], None]:
        from tqdm import tqdm

        bars.close()
        if not quiet:
            say(NAME, f"training {model} by recipe {recipe.name} on {device}")
        hidden = quiet or not sys.stderr.isatty()
        held_out = round(recipe.validation_share * len(dataset.train))
        total = recipe.epochs * (len(dataset.train) - held_out)
        bar = bars.enter_context(tqdm(total=total, unit=" images", unit_scale=True, disable=hidden, dynamic_ncols=True))

        def on_step(epoch: int, images: int, loss: float) -> None:
            bar.set_description(f"{model} epoch {epoch}/{recipe.epochs} loss {loss:.3f}", refresh=False)
            bar.update(images)

        return on_step

    return on_start


def _sheet_file(dataset: "Dataset", out: Path | None) -> Path:
    """Where the sheet of samples goes: a file of our own naming, in the folder `out` or here, or the file `out`."""
    if out is None or out.is_dir():
        return (out or Path()) / f"{_stem(dataset.source)}-samples.png"
    return out


def _show(dataset: "Dataset", file: Path) -> None:
    import numpy as np

    from clf_train.files import whole_file
    from clf_train.plots import save_sheet

    width = max(len(name) for name in dataset.names)
    counts = [np.bincount(part.labels, minlength=len(dataset.names)) for part in (dataset.train, dataset.test)]
    print(f"source       {one_line(dataset.source)}")
    print(f"layout       {dataset.layout}")
    for title, part in (("training", dataset.train), ("test", dataset.test)):
        print(f"{title:<12} {part.images.dtype} {'x'.join(map(str, part.images.shape))}, labels {part.labels.dtype}")
    low, high = dataset.value_range
    print(f"value range  {low:g}..{high:g}")
    print(f"mean         {'  '.join(f'{m:.4f}' for m in dataset.mean)}")
    print(f"deviation    {'  '.join(f'{s:.4f}' for s in dataset.std)}")
    print(f"fingerprint  {dataset.fingerprint}")
    print(f"classes      {len(dataset.names)}, images of each to train and to test:")
    for label, name in enumerate(dataset.names):
        print(f"  {label:>3}  {one_line(name):<{width}}  {counts[0][label]:>8,}  {counts[1][label]:>8,}")
    with whole_file(file) as partial:
        save_sheet(dataset, partial)
    print(f"samples      {file}")


def _stem(source: str) -> str:
    name = Path(source).name.split(".")[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "data"


app = make_app(train)


def main() -> NoReturn:
    """Run `clf-train`."""
    run(app, NAME, "all")
