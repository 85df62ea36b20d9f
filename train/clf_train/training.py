"""One training, from a dataset to a run folder."""

import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

from clf_runtime import __version__
from clf_train import plots, report
from clf_train.dataset import Dataset
from clf_train.device import Device, select_device
from clf_train.errors import TrainError
from clf_train.evaluate import Normalisation, probabilities
from clf_train.fit import OnStep, fit
from clf_train.metrics import measure
from clf_train.models import build_model, count_parameters
from clf_train.recipe import Model, Recipe
from clf_train.run import SCHEMA, DataRecord, Run, new_folder, write_run

OnStart = Callable[[Model, Recipe, str], OnStep]


def _silent(model: Model, recipe: Recipe, device: str) -> OnStep:
    return lambda epoch, images, loss: None


def train(
    dataset: Dataset,
    recipes: Mapping[Model, Recipe],
    folder: Path,
    *,
    device: Device = "auto",
    seed: int = 0,
    overwrite: bool = False,
    on_start: OnStart = _silent,
) -> list[Run]:
    """Train each model by its recipe, test it, and write the run folder; returns the runs in the order of `recipes`.

    One model leaves its run in `folder` itself; several leave theirs in folders of their names below it, beside
    `comparison.html`. `on_start` is told the model, its recipe and the device, and returns what is told of each step.
    Raises RunError if the folder is in the way, DeviceError if the device does not work, TrainError if the loss is NaN.
    """
    chosen, device_name = select_device(device)
    runs: list[Run] = []
    with new_folder(folder, overwrite=overwrite) as partial:
        try:
            for model, recipe in recipes.items():
                place = partial if len(recipes) == 1 else partial / model
                place.mkdir(exist_ok=True)
                on_step = on_start(model, recipe, device_name)
                runs.append(_train_one(dataset, model, recipe, place, chosen, device_name, seed, on_step))
            if len(runs) > 1:
                (partial / "comparison.html").write_text(report.html_comparison(runs), "utf-8")
        except OSError as error:
            raise TrainError(f"{error.filename or partial}: cannot be written: {error.strerror or error}") from None
    return runs


def _train_one(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    device_name: str,
    seed: int,
    on_step: OnStep,
) -> Run:
    torch.manual_seed(seed)
    net = build_model(model, dataset.image_shape, len(dataset.names)).to(device)
    normalise = choose_normalisation(dataset, recipe)
    history = fit(net, dataset.train, recipe, normalise, device, seed, on_step)
    test = measure(probabilities(net, dataset.test.images, normalise, device), dataset.test.labels)
    run = Run(
        schema=SCHEMA,
        model=model,
        names=dataset.names,
        image_shape=dataset.image_shape,
        dtype=dataset.dtype,
        value_range=dataset.value_range,
        normalisation=normalise,
        temperature=1.0,
        parameters=count_parameters(net),
        recipe=recipe,
        seed=seed,
        device=device_name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=sum(epoch.seconds for epoch in history),
        data=DataRecord(dataset.source, dataset.layout, dataset.fingerprint, len(dataset.train), len(dataset.test)),
        history=history,
        test=test,
        versions={"clf-edge": __version__, "torch": torch.__version__, "python": platform.python_version()},
    )
    write_run(folder, run, net)
    plots.save_curves(history, folder / "curves.png")
    plots.save_confusion(test, dataset.names, folder / "confusion.png")
    (folder / "report.html").write_text(report.html_report(run, folder), "utf-8")
    return run


def choose_normalisation(dataset: Dataset, recipe: Recipe) -> Normalisation:
    """The training images' mean and standard deviation if the recipe normalises, else the values as they stand.

    As they stand means floats untouched and uint8 scaled to 0..1, which is what the user's float images are. A channel
    that never changes is only shifted.
    """
    if recipe.normalise:
        return Normalisation(dataset.mean, tuple(s if s > 1e-6 else 1.0 for s in dataset.std))
    channels = dataset.image_shape[0]
    return Normalisation((0.0,) * channels, (255.0 if dataset.dtype == "uint8" else 1.0,) * channels)
