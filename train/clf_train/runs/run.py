"""The run folder: everything that a training writes, with checks when it is read back.

weights.safetensors   the net's parameters and buffers
probe.safetensors     a few dozen images and the trained net's scores for them: see probe
run.json              everything else that is needed to use or repeat the run: see Run
metrics.csv           one line per epoch
*.png, report.html    the report; see plots and page
"""

from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clf_runtime.bounded import read_bounded
from clf_runtime.model.geometry import UNSTATED, Geometry
from clf_runtime.model.open_set import OpenSet, open_set_fault
from clf_train.data.normalisation import Normalisation
from clf_train.errors import RunError
from clf_train.evaluation.calibration import Calibration
from clf_train.evaluation.folds import Folds
from clf_train.evaluation.metrics import TestMetrics
from clf_train.evaluation.suspects import Suspects
from clf_train.files import whole_file
from clf_train.loop import probe
from clf_train.loop.checkpoint import Epoch
from clf_train.loop.fitted import HeadFit
from clf_train.loop.probe import Probe
from clf_train.loop.rebuild import build_from, sha256
from clf_train.models.recipe import Recipe
from clf_train.models.registry import MODELS, Model, is_own
from clf_train.runs.metrics_file import write_metrics
from clf_train.runs.records import read_record, write_record

SCHEMA = 8
RECORD = "run.json"
WEIGHTS = "weights.safetensors"
_MAX_BYTES = 4 << 30  # of weights or a probe
_PROBED = 5  # the first schema of runs with a probe


@dataclass(frozen=True)
class Init:
    """The run folder whose weights a training began with, and the SHA-256 of these weights."""

    folder: str
    weights_sha256: str


@dataclass(frozen=True)
class DataRecord:
    """Where the images came from: a word or an absolute path, its layout, its fingerprint, and each part's size.

    `train_images` were trained on; `validation_images` were held out of the training part. `skipped` are the pictures
    that were skipped since they cannot be decoded, `as_before` says how the others were read: see read_source.
    `remarks` are what was said of the images before the training: the notes and doubts of their Dataset.
    """

    source: str
    layout: str
    fingerprint: str
    train_images: int
    validation_images: int
    test_images: int
    skipped: tuple[str, ...]
    as_before: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One training of one model, as run.json holds it.

    `image_shape` is (channels, height, width); `dtype` and `value_range` are those of the images, and `normalisation`
    is in the same units. `geometry` says how pictures were resized to the images. `best_epoch` is the epoch of the
    weights, `temperature` divides the scores before the softmax: 1 if it was not fitted. `machine` is
    describe_machine's. `threads` is the number of PyTorch threads in each of the `processes`. `created` is ISO 8601 in
    UTC, `seconds` the time of the training loop alone. The two SHA-256 are of the files beside it; runs of versions
    without a probe have none. `pretrained` is the source and licence of the pretrained weights, of the net or of the
    run `init` that it started from, if any, and `head` how a head was fitted without gradient steps. `folds` are those
    of a training in folds: if the source has no test part, `test` is of their predictions for all images. `suspects`
    are the labels that may be wrong, where there are predictions by nets that had not seen the images. `open_set` is
    how often classes would be noticed that the model does not know, if that was measured.
    """

    schema: int
    model: Model
    names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    dtype: str
    value_range: tuple[float, float]
    geometry: Geometry
    normalisation: Normalisation
    temperature: float
    parameters: int
    recipe: Recipe
    seed: int
    device: str
    machine: dict[str, str]
    threads: int
    processes: int
    created: str
    seconds: float
    data: DataRecord
    history: tuple[Epoch, ...]
    best_epoch: int
    test: TestMetrics
    calibration: Calibration
    versions: dict[str, str]
    weights_sha256: str | None
    probe_sha256: str | None
    pretrained: str
    init: Init | None
    head: HeadFit | None
    folds: Folds | None
    suspects: Suspects | None
    open_set: OpenSet | None

    @property
    def has_test(self) -> bool:
        """Whether `test` is of the net itself, on images that it was not trained on, and not of nets in folds."""
        return self.folds is None or not self.folds.stands_in

    def __post_init__(self) -> None:
        if self.model not in MODELS and not is_own(self.model):
            raise ValueError(f"model is {self.model!r}")
        channels = self.image_shape[0]
        mean, std = self.normalisation.mean, self.normalisation.std
        if not (len(mean) == len(std) == channels and all(s > 0 for s in std)):
            raise ValueError(f"normalisation must have a mean and a positive std for each of {channels} channels")
        if not (self.temperature > 0 and self.seconds > 0 and len(self.names) >= 2 and min(self.image_shape) > 0):
            raise ValueError("temperature, seconds, names or image_shape is invalid")
        if self.schema >= _PROBED and None in (self.weights_sha256, self.probe_sha256):
            raise ValueError("the SHA-256 of the weights or the probe is missing")
        if self.open_set is not None and (fault := open_set_fault(self.open_set, len(self.names))):
            raise ValueError(f"open_set must be {fault}")


def write_run(folder: Path, run: Run, weights: bytes, probed: bytes) -> None:
    """Write the files of a run into an existing folder, run.json last, which marks it as finished."""
    for name, data in ((WEIGHTS, weights), (probe.FILE, probed)):
        with whole_file(folder / name) as partial:
            partial.write_bytes(data)
    write_metrics(folder, run.history)
    write_record(folder / RECORD, run)


def find_runs(folder: Path) -> list[Path]:
    """The run folders of `folder`: itself, or one per model in it. Raises RunError if there is none."""
    if (folder / RECORD).is_file():
        return [folder]
    runs = sorted(f.parent for f in folder.glob(f"[!.]*/{RECORD}") if f.is_file())
    if not folder.exists():
        raise RunError(f"{folder}: no such file or folder; clf-train makes run folders")
    if not runs:
        raise RunError(f"{folder}: no run folder (no run.json in it or in a folder below it); clf-train makes one")
    ours = [folder / model for model in MODELS if folder / model in runs]
    return ours + [run for run in runs if run not in ours]


def folder_name(model: Model) -> str:
    """The name of a model's subfolder in the run folder of a training of several."""
    return model.rpartition(":")[2]


def complete_recipe(raw: object) -> object:
    """A recipe of an older record, with the usual value of each field that it lacks."""
    usual = {f.name: f.default for f in fields(Recipe) if f.default is not MISSING}
    return {**usual, **raw} if isinstance(raw, dict) else raw


def _upgrade(raw: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 4, which had no probe, or 5, as one of this: all pictures had one size."""
    if not isinstance(raw.get("data"), dict):
        raise ValueError("it names no data")
    absent = ("weights_sha256", "probe_sha256", "init", "head", "folds", "suspects", "open_set")
    data = {**raw["data"], "skipped": [], "as_before": True, "remarks": []}
    added = {"data": data, "geometry": asdict(UNSTATED), "recipe": complete_recipe(raw.get("recipe"))}
    return {**dict.fromkeys(absent), "pretrained": "", **raw, **added}


def _upgrade_6(raw: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 6 as one of this: no class was left out."""
    return _upgrade_7({**raw, "open_set": None})


def _upgrade_7(raw: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 7 as one of this: the first layer was not computed from the images."""
    return {**raw, "recipe": complete_recipe(raw.get("recipe"))}


_OLDER = {4: _upgrade, 5: _upgrade, 6: _upgrade_6, 7: _upgrade_7}


def read_run(folder: Path) -> Run:
    """Read run.json. Raises RunError if it is missing, damaged, or of another schema."""
    run: Run = read_record(Run, folder / RECORD, SCHEMA, _OLDER)
    return run


def load_net(folder: Path, run: Run, own: Model | None = None) -> nn.Module:
    """Rebuild a run's net on the CPU, in evaluation mode, and check its outputs on the run's probe.

    A user's own model is imported only if `own` names it: importing runs code, and a run.json may come from anywhere.
    Raises RunError if the weights or the probe are missing or not those that the training wrote, if the net's outputs
    on the probe differ from those of the trained net, or if `own` is not the run's model.
    """
    if run.model != own and (own is not None or is_own(run.model)):
        raise RunError(f"{folder}: is of your own model {run.model}; to import its code, pass --model {run.model}")
    weights = _read(folder / WEIGHTS, run.weights_sha256)
    net = build_from(weights, run.model, run.image_shape, len(run.names), str(folder / WEIGHTS))
    if run.probe_sha256 is not None:
        probed = read_probe(folder, run)
        found = probe.answer(net, probed.images, run.normalisation, torch.device("cpu"))
        if difference := probe.differing(probed.scores, found):
            raise RunError(
                f"{folder}: the weights are those of the training, but {run.model} gives other outputs now: "
                f"{difference}; its code has changed since: restore it, or train again"
            )
    return net


def read_probe(folder: Path, run: Run) -> Probe:
    """Read the probe of a run that has one. Raises RunError if it is missing, or not what the training wrote."""
    file = folder / probe.FILE
    return probe.unpack(_read(file, run.probe_sha256), str(file))


def _read(file: Path, wanted: str | None) -> bytes:
    """Read a file of a run. Raises RunError if it cannot be read, or its SHA-256 does not match."""
    try:
        data = read_bounded(file, _MAX_BYTES)
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror or error}") from None
    if data is None:
        raise RunError(f"{file}: larger than {_MAX_BYTES >> 30} GiB")
    if wanted is not None and sha256(data) != wanted:
        raise RunError(f"{file}: not what the training wrote (its SHA-256 differs): copy the run again, or train again")
    return data
