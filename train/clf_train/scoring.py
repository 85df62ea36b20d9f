"""The end of a training: the temperature, the single evaluation on the test images or in folds, and the run folder."""

import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clf_runtime import __version__
from clf_runtime.model.open_set import OpenSet
from clf_train.data.dataset import Dataset
from clf_train.data.normalisation import Normalisation
from clf_train.errors import TrainError
from clf_train.evaluation.calibration import ENOUGH_TO_CALIBRATE, calibration, fit_temperature, images_to_fit
from clf_train.evaluation.folds import has_failed, held_out_probabilities, measure_folds
from clf_train.evaluation.inference import class_scores, softmax
from clf_train.evaluation.metrics import measure
from clf_train.evaluation.suspects import find_suspects
from clf_train.files import whole_file
from clf_train.loop import probe
from clf_train.loop.fitted import Fit
from clf_train.loop.rebuild import pack_weights, probe_rebuilt, sha256
from clf_train.models.registry import Model, count_parameters
from clf_train.report import explained, page, plots
from clf_train.report.machine import describe_machine
from clf_train.runs.init import pretrained_source
from clf_train.runs.plan import Plan
from clf_train.runs.records import write_record
from clf_train.runs.run import RECORD, SCHEMA, DataRecord, Run, write_run


def add_open_set(run: Run, found: OpenSet, folder: Path) -> Run:
    """The run with how often left-out classes are noticed, in its record and its report in `folder`."""
    run = replace(run, open_set=found)
    with whole_file(folder / "report.html") as partial:
        partial.write_text(page.run_page(run, folder), "utf-8")
    write_record(folder / RECORD, run)
    return run


def score(
    wanted: Plan,
    dataset: Dataset,
    model: Model,
    net: nn.Module,
    normalise: Normalisation,
    held_out: np.ndarray | None,
    fitted: Fit,
    device: torch.device,
    device_name: str,
    folder: Path,
) -> Run:
    """Fit the temperature on the rows `held_out`, evaluate on the test images, and write the run into `folder`.

    Without such rows the temperature is that of `fitted`, or 1. Where there are no test images, the predictions of
    `fitted` out of fold stand in for them.
    A net rebuilt from the weights must first reproduce the outputs of the trained one: see rebuild. `net` is moved to
    the CPU. Raises FactoryError if they differ, TrainError if the net has failed where folds stand in for a test,
    OSError as the system does.
    """
    temperature = fitted.temperature or 1.0
    if held_out is not None and len(held_out) >= ENOUGH_TO_CALIBRATE:
        few = images_to_fit(len(held_out), len(dataset.names))
        rows = held_out[np.arange(few) * len(held_out) // few]
        scores = class_scores(net, dataset.train.images, normalise, device, rows)
        temperature = fit_temperature(scores, dataset.train.labels[rows])
    labels, folded, folds = dataset.test.labels, fitted.out_of_fold, None
    if folded is not None and wanted.folds:
        folds = measure_folds(
            folded.scores, dataset.train.labels, folded.fold, folded.epochs, stands_in=not dataset.has_test
        )
    if dataset.has_test:
        scores = class_scores(net, dataset.test.images, normalise, device)
        before, after = softmax(scores), softmax(scores, temperature)
    else:
        assert folded is not None
        assert folds is not None
        own = class_scores(net, dataset.train.images, normalise, device).argmax(1).numpy()
        right = int((own == labels).sum())
        if has_failed(right, folds):
            raise TrainError(
                f"{model}: the training on all images failed: of them it classifies {100 * right / len(labels):.1f} % "
                f"correctly, where nets that had not seen them reached {100 * folds.accuracy:.1f} %; choose a lower "
                "--learning-rate, or another --seed"
            )
        before = softmax(torch.from_numpy(folded.scores))
        after = held_out_probabilities(folded.scores, labels, folded.fold)
    test = measure(after, labels)
    suspects = None
    if folded is not None:
        unseen = softmax(torch.from_numpy(folded.scores), temperature)
        suspects = find_suspects(unseen, dataset.train.labels, dataset.place)

    def answer(images: np.ndarray) -> np.ndarray:
        return softmax(class_scores(net, images, normalise, device), temperature)

    parameters = count_parameters(net)
    weights = pack_weights(net)
    probed = probe.pack(probe_rebuilt(net, weights, model, probe.choose_images(dataset, wanted.seed), normalise))
    validation_images = 0 if held_out is None else len(held_out)
    run = Run(
        schema=SCHEMA,
        model=model,
        names=dataset.names,
        image_shape=dataset.image_shape,
        dtype=dataset.dtype,
        value_range=dataset.value_range,
        geometry=dataset.geometry,
        normalisation=normalise,
        temperature=temperature,
        parameters=parameters,
        recipe=wanted.recipes[model],
        seed=wanted.seed,
        device=device_name,
        machine=describe_machine(),
        threads=torch.get_num_threads(),
        processes=wanted.processes,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=sum(epoch.seconds for epoch in fitted.history),
        data=DataRecord(
            dataset.source,
            dataset.layout,
            dataset.fingerprint,
            len(dataset.train) - validation_images,
            validation_images,
            len(dataset.test) if dataset.has_test else 0,
            dataset.skipped,
            dataset.as_before,
            (*dataset.notes, *dataset.doubts),
        ),
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        test=test,
        calibration=calibration(before, after, labels),
        versions={"clf-edge": __version__, "torch": torch.__version__, "python": platform.python_version()},
        weights_sha256=sha256(weights),
        probe_sha256=sha256(probed),
        pretrained=pretrained_source(model, wanted.init),
        init=wanted.init,
        head=fitted.head,
        folds=folds,
        suspects=suspects,
        open_set=None,
    )
    plots.save_curves(fitted.history, folder / "curves.png")
    plots.save_reliability(run.calibration, folder / "reliability.png")
    plots.save_confusion(test, dataset.names, folder / "confusion.png")
    plots.save_confused(dataset, after, folder / "confused.png")
    if dataset.has_test:  # in folds other nets made the mistakes
        explained.save_explained(dataset, after, answer, folder / "explained.png")
    if suspects is not None:
        plots.save_suspects(dataset, suspects, folder / "suspects.png")
    (folder / "report.html").write_text(page.run_page(run, folder), "utf-8")
    write_run(folder, run, weights, probed)  # last: run.json marks a finished run
    return run
