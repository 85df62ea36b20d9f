"""One training, from a dataset to a run folder."""

import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from clf_runtime import __version__
from clf_train import page, plots
from clf_train.calibration import ENOUGH_TO_CALIBRATE, calibration, fit_temperature
from clf_train.dataset import Dataset, split_rows
from clf_train.device import Device, select_device
from clf_train.errors import TrainError
from clf_train.evaluate import Normalisation, class_scores, softmax
from clf_train.fit import OnStep, fit
from clf_train.machine import describe_machine
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
                (partial / "comparison.html").write_text(page.comparison_page(runs, partial), "utf-8")
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
    held_out = hold_out(dataset, recipe, seed)
    fitted = fit(net, dataset.train, recipe, normalise, device, seed, on_step, held_out)
    temperature = 1.0
    if held_out is not None and len(held_out) >= ENOUGH_TO_CALIBRATE:
        scores = class_scores(net, dataset.train.images, normalise, device, held_out)
        temperature = fit_temperature(scores, dataset.train.labels[held_out])
    test_scores = class_scores(net, dataset.test.images, normalise, device)
    before, after = softmax(test_scores), softmax(test_scores, temperature)
    test = measure(after, dataset.test.labels)
    validation_images = 0 if held_out is None else len(held_out)
    run = Run(
        schema=SCHEMA,
        model=model,
        names=dataset.names,
        image_shape=dataset.image_shape,
        dtype=dataset.dtype,
        value_range=dataset.value_range,
        normalisation=normalise,
        temperature=temperature,
        parameters=count_parameters(net),
        recipe=recipe,
        seed=seed,
        device=device_name,
        machine=describe_machine(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=sum(epoch.seconds for epoch in fitted.history),
        data=DataRecord(
            dataset.source,
            dataset.layout,
            dataset.fingerprint,
            len(dataset.train) - validation_images,
            validation_images,
            len(dataset.test),
        ),
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        test=test,
        calibration=calibration(before, after, dataset.test.labels),
        versions={"clf-edge": __version__, "torch": torch.__version__, "python": platform.python_version()},
    )
    write_run(folder, run, net)
    plots.save_curves(fitted.history, folder / "curves.png")
    plots.save_reliability(run.calibration, folder / "reliability.png")
    plots.save_confusion(test, dataset.names, folder / "confusion.png")
    plots.save_confused(dataset, after, folder / "confused.png")
    (folder / "report.html").write_text(page.run_page(run, folder), "utf-8")
    return run


def hold_out(dataset: Dataset, recipe: Recipe, seed: int) -> np.ndarray | None:
    """The rows of the training part that a recipe holds out for validation, int64 [M].

    None if it holds out none, or if a class has a single training image, which cannot be spared.
    """
    if not recipe.validation_share or np.bincount(dataset.train.labels).min() < 2:
        return None
    return split_rows(dataset.train.labels, recipe.validation_share, seed, dataset.source)[1]


def choose_normalisation(dataset: Dataset, recipe: Recipe) -> Normalisation:
    """The training images' mean and standard deviation if the recipe normalises, else the values as they stand.

    As they stand means floats untouched and uint8 scaled to 0..1, which is what the user's float images are. A channel
    that never changes is only shifted.
    """
    if recipe.normalise:
        return Normalisation(dataset.mean, tuple(s if s > 1e-6 else 1.0 for s in dataset.std))
    channels = dataset.image_shape[0]
    return Normalisation((0.0,) * channels, (255.0 if dataset.dtype == "uint8" else 1.0,) * channels)
