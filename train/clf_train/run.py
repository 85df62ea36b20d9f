"""The run folder: all that a training leaves, written whole and read back with care.

weights.safetensors   the net's parameters and buffers
run.json              everything else that is needed to use or repeat the run: see Run
metrics.csv           one line an epoch
*.png, report.html    for people; see plots and page
"""

import csv
import json
import shutil
import tempfile
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn

from clf_runtime.bounded import read_bounded
from clf_runtime.errors import brief
from clf_train.calibration import Calibration
from clf_train.errors import RunError
from clf_train.evaluate import Normalisation
from clf_train.fit import Epoch
from clf_train.metrics import TestMetrics
from clf_train.models import build_model
from clf_train.recipe import MODELS, Model, Recipe

SCHEMA = 3
_MAX_JSON_BYTES = 64 << 20
_MARK = ".clf-train"  # in a partial folder, says that it is ours to clear


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
    by before the softmax: 1 where no images were held out to fit it to. `machine` is that of machine.describe_machine.
    `created` is ISO 8601 in UTC, `seconds` the time of the training loop alone.
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
    created: str
    seconds: float
    data: DataRecord
    history: tuple[Epoch, ...]
    best_epoch: int
    test: TestMetrics
    calibration: Calibration
    versions: dict[str, str]

    def __post_init__(self) -> None:
        channels = self.image_shape[0]
        mean, std = self.normalisation.mean, self.normalisation.std
        if not (len(mean) == len(std) == channels and all(s > 0 for s in std)):
            raise ValueError(f"normalisation must have a mean and a positive std for each of {channels} channels")
        if not (self.temperature > 0 and self.seconds > 0 and len(self.names) >= 2 and min(self.image_shape) > 0):
            raise ValueError("temperature, seconds, names or image_shape hold an impossible value")


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give `<folder>.partial` to work in, and rename it to `folder` when the block ends well; remove it if it does not.

    Raises RunError if `folder` is there already (unless `overwrite`), or appears in the meantime, if another training
    works in the partial one, or if that is not a training's.
    """
    folder = folder.resolve()
    refuse_existing(folder, overwrite)
    partial = folder.with_name(folder.name + ".partial")
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), blocking=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RunError(f"{partial}: another training is at work in it") from None
    except OSError as error:
        raise RunError(f"{partial}: cannot be written: {error.strerror or error}") from None
    try:
        if partial.exists():
            if not (partial / _MARK).exists():
                raise RunError(f"{partial}: is in the way, and no training made it; move it away")
            shutil.rmtree(partial)  # of a training that was killed: nobody holds its lock
        try:
            partial.mkdir()
            (partial / _MARK).touch()
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        refuse_existing(folder, overwrite, f"; the finished run is in {partial}")
        (partial / _MARK).unlink()
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
            if folder.exists():
                folder.rename(Path(aside) / "replaced")
            partial.rename(folder)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: whoever comes now makes a new one
        lock.release()


def refuse_existing(folder: Path, overwrite: bool, more: str = "") -> None:
    """Raise RunError if something is there already: a run unless `overwrite`, anything else in any case."""
    if folder.exists() and not overwrite:
        raise RunError(f"{folder}: is there already; choose another --out, or pass --overwrite{more}")
    if folder.exists() and not _is_run(folder):
        raise RunError(f"{folder}: is no run folder, so it is not overwritten{more}")


def _is_run(folder: Path) -> bool:
    return any((f / "run.json").is_file() for f in (folder, *(folder / model for model in MODELS)))


def free_name(parent: Path, stem: str) -> Path:
    """A folder name below `parent` that nothing has yet: stem, stem-2, stem-3, ..."""
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        if not folder.exists() and not folder.with_name(folder.name + ".partial").exists():
            return folder
        number += 1


def write_run(folder: Path, run: Run, net: nn.Module) -> None:
    """Write weights.safetensors, run.json and metrics.csv into a folder that is there."""
    from safetensors.torch import save

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    (folder / "weights.safetensors").write_bytes(save(state))
    (folder / "run.json").write_text(json.dumps(asdict(run), indent=1) + "\n", "utf-8")
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([f.name for f in fields(Epoch)])
        writer.writerows([asdict(epoch).values() for epoch in run.history])


def find_runs(folder: Path) -> list[Path]:
    """The run folders that `folder` is or holds: itself, or those of both models in it. Raises RunError if none."""
    if (folder / "run.json").is_file():
        return [folder]
    runs = [folder / model for model in MODELS if (folder / model / "run.json").is_file()]
    if not runs:
        raise RunError(f"{folder}: no run folder (no run.json in it, in simple/ or in conv/); clf-train makes one")
    return runs


def read_run(folder: Path) -> Run:
    """Read run.json. Raises RunError if it is missing, damaged, or of another schema."""
    file = folder / "run.json"
    try:
        text = read_bounded(file, _MAX_JSON_BYTES)
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}; is {folder} a run folder of clf-train?") from None
    try:
        if text is None:
            raise ValueError("it is too large")
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}, which this one reads; train again")
        run: Run = _revive(Run, raw, "run")
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file}: damaged, or of another version of clf-edge: {error}") from None
    return run


def load_net(folder: Path, run: Run) -> nn.Module:
    """Rebuild a run's net on the CPU, in evaluation mode. Raises RunError if the weights are missing or do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / "weights.safetensors"
    net = build_model(run.model, run.image_shape, len(run.names))
    try:
        net.load_state_dict(load_file(file))
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (SafetensorError, RuntimeError) as error:
        raise RunError(f"{file}: damaged, or not the weights of this run: {brief(error)}") from None
    return net.eval()


def _revive(kind: Any, value: Any, where: str) -> Any:
    """Build what a type annotation says from parsed JSON. Raises ValueError, naming the place, if it does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is no object")
        hints = typing.get_type_hints(kind)
        if set(hints) != set(value):
            raise ValueError(f"{where} has other fields: {', '.join(sorted(set(hints) ^ set(value)))}")
        return kind(**{name: _revive(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})  # type: ignore[operator]
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(kinds) != len(value):
            raise ValueError(f"{where} has {len(value)} items, not {len(kinds)}")
        return tuple(_revive(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict and isinstance(value, dict):
        return {str(k): _revive(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is typing.Literal and value in arguments:
        return value
    if origin is types.UnionType:
        return None if value is None else _revive(arguments[0], value, where)
    if kind is float and type(value) in (int, float) and -1e300 <= value <= 1e300:
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {str(value)[:60]!r}")
