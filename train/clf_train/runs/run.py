"""The run folder: all that a training leaves, written whole and read back with care.

weights.safetensors   the net's parameters and buffers
probe.safetensors     a few dozen images and the trained net's own scores for them: see probe
run.json              everything else that is needed to use or repeat the run: see Run
metrics.csv           one line an epoch
*.png, report.html    for people; see plots and page
"""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clf_runtime.bounded import read_bounded
from clf_train.data.normalisation import Normalisation
from clf_train.errors import RunError
from clf_train.evaluation.calibration import Calibration
from clf_train.evaluation.metrics import TestMetrics
from clf_train.files import whole_file
from clf_train.loop import probe
from clf_train.loop.checkpoint import Epoch
from clf_train.loop.fit import HeadFit
from clf_train.loop.probe import Probe
from clf_train.loop.rebuild import build_from, sha256
from clf_train.models.recipe import Recipe
from clf_train.models.registry import MODELS, Model, is_own
from clf_train.runs.metrics_file import write_metrics
from clf_train.runs.records import read_record, write_record

SCHEMA = 6
RECORD = "run.json"
WEIGHTS = "weights.safetensors"
_MAX_BYTES = 4 << 30  # of weights or a probe


def _upgrade(raw: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 4, which had no probe, or 5, as one of this schema."""
    missing = {"weights_sha256": None, "probe_sha256": None, "pretrained": "", "init": None, "head": None}
    recipe = raw.get("recipe")
    if isinstance(recipe, dict):
        recipe = {f.name: f.default for f in fields(Recipe) if f.default is not MISSING} | recipe
    return {**missing, **raw, "recipe": recipe}


_OLDER = {4: _upgrade, 5: _upgrade}


@dataclass(frozen=True)
class Init:
    """The run folder whose weights a training began with, and the SHA-256 of these weights."""

    folder: str
    weights_sha256: str


@dataclass(frozen=True)
class DataRecord:
    """Where the images came from: a word or an absolute path, its layout, its fingerprint, and each part's size.

    `train_images` are those that trained; the `validation_images` were held out of the training part.
    """

    source: str
    layout: str
    fingerprint: str
    train_images: int
    validation_images: int
    test_images: int


@dataclass(frozen=True)
class Run:
    """One training of one model, as run.json holds it.

    `image_shape` is (channels, height, width); `dtype` and `value_range` are those of the images, and `normalisation`
    is in the same units. `best_epoch` is the epoch that the weights are of, `temperature` what the scores are divided
    by before the softmax: 1 where no images were held out to fit it to. `machine` is machine.describe_machine's.
    `threads` is how many PyTorch used in each of the `processes`. `created` is ISO 8601 in UTC, `seconds` the time of
    the training loop alone. The two SHA-256 are of the files beside it; runs of clf-edge before the probe have none.
    `pretrained` is the source and licence of the weights that the net, or the run it began with, came with, if any;
    `init` is that run, and `head` how a head was fitted without steps.
    """

    schema: int
    model: Model
    names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    dtype: str
    value_range: tuple[float, float]
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

    def __post_init__(self) -> None:
        if self.model not in MODELS and not is_own(self.model):
            raise ValueError(f"model is {self.model!r}")
        channels = self.image_shape[0]
        mean, std = self.normalisation.mean, self.normalisation.std
        if not (len(mean) == len(std) == channels and all(s > 0 for s in std)):
            raise ValueError(f"normalisation must have a mean and a positive std for each of {channels} channels")
        if not (self.temperature > 0 and self.seconds > 0 and len(self.names) >= 2 and min(self.image_shape) > 0):
            raise ValueError("temperature, seconds, names or image_shape hold an impossible value")
        if self.schema > 4 and None in (self.weights_sha256, self.probe_sha256):
            raise ValueError("the SHA-256 of the weights or the probe is missing")


def write_run(folder: Path, run: Run, weights: bytes, probed: bytes) -> None:
    """Write the files of a run into a folder that is there, run.json last: a folder that has one is finished."""
    for name, data in ((WEIGHTS, weights), (probe.FILE, probed)):
        with whole_file(folder / name) as partial:
            partial.write_bytes(data)
    write_metrics(folder, run.history)
    write_record(folder / RECORD, run)


def find_runs(folder: Path) -> list[Path]:
    """The run folders that `folder` is or holds: itself, or one a model in it. Raises RunError if there is none."""
    if (folder / RECORD).is_file():
        return [folder]
    runs = sorted(f.parent for f in folder.glob(f"[!.]*/{RECORD}") if f.is_file())
    if not runs:
        raise RunError(f"{folder}: no run folder (no run.json in it or in a folder below it); clf-train makes one")
    ours = [folder / model for model in MODELS if folder / model in runs]
    return ours + [run for run in runs if run not in ours]


def folder_name(model: Model) -> str:
    """What a model's run folder is called below that of a training of several."""
    return model.rpartition(":")[2]


def read_run(folder: Path) -> Run:
    """Read run.json. Raises RunError if it is missing, damaged, or of another schema."""
    run: Run = read_record(Run, folder / RECORD, SCHEMA, _OLDER)
    return run


def load_net(folder: Path, run: Run, own: Model | None = None) -> nn.Module:
    """Rebuild a run's net on the CPU, in evaluation mode, and hold it to the run's probe.

    A user's own model is imported only if `own` names it: a run.json may come from anywhere, and to import is to run.
    Raises RunError if the weights or the probe are missing or not those that the training wrote, if the net answers the
    probe otherwise than the net that was trained, or if `own` is not the run's model.
    """
    if run.model != own and (own is not None or is_own(run.model)):
        raise RunError(f"{folder}: is of the model {run.model}; to import code of that name, pass --model {run.model}")
    weights = _read(folder / WEIGHTS, run.weights_sha256)
    net = build_from(weights, run.model, run.image_shape, len(run.names), str(folder / WEIGHTS))
    if run.probe_sha256 is not None:
        probed = read_probe(folder, run)
        found = probe.answer(net, probed.images, run.normalisation, torch.device("cpu"))
        if difference := probe.differing(probed.scores, found):
            raise RunError(
                f"{folder}: its weights are those of the training, but {run.model} is another net now: {difference}; "
                "its code has changed since, so bring it back as it was, or train again"
            )
    return net


def read_probe(folder: Path, run: Run) -> Probe:
    """Read the probe of a run that has one. Raises RunError if it is missing, or not what the training wrote."""
    file = folder / probe.FILE
    return probe.unpack(_read(file, run.probe_sha256), str(file))


def _read(file: Path, wanted: str | None) -> bytes:
    """Read a file of a run. Raises RunError if it cannot be read, or has not the SHA-256 that is wanted."""
    try:
        data = read_bounded(file, _MAX_BYTES)
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror or error}") from None
    if data is None:
        raise RunError(f"{file}: larger than {_MAX_BYTES >> 30} GiB")
    if wanted is not None and sha256(data) != wanted:
        raise RunError(
            f"{file}: is not what the training wrote (its SHA-256 is another): copy the run anew, or train again"
        )
    return data
