"""The run folder: all that a training leaves, written whole and read back with care.

weights.safetensors   the net's parameters and buffers
run.json              everything else that is needed to use or repeat the run: see Run
metrics.csv           one line an epoch
*.png, report.html    for people; see plots and page
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from clf_runtime.errors import brief
from clf_train.calibration import Calibration
from clf_train.checkpoint import Epoch
from clf_train.errors import RunError
from clf_train.evaluate import Normalisation
from clf_train.files import whole_file
from clf_train.metrics import TestMetrics
from clf_train.metrics_file import write_metrics
from clf_train.models import build_model
from clf_train.recipe import MODELS, Model, Recipe, is_own
from clf_train.records import read_record, write_record

SCHEMA = 4
RECORD = "run.json"


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
    `threads` is how many PyTorch used in each
    of the `processes`. `created` is ISO 8601 in UTC, `seconds` the time of the training loop alone.
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

    def __post_init__(self) -> None:
        if self.model not in MODELS and not is_own(self.model):
            raise ValueError(f"model is {self.model!r}")
        channels = self.image_shape[0]
        mean, std = self.normalisation.mean, self.normalisation.std
        if not (len(mean) == len(std) == channels and all(s > 0 for s in std)):
            raise ValueError(f"normalisation must have a mean and a positive std for each of {channels} channels")
        if not (self.temperature > 0 and self.seconds > 0 and len(self.names) >= 2 and min(self.image_shape) > 0):
            raise ValueError("temperature, seconds, names or image_shape hold an impossible value")


def write_run(folder: Path, run: Run, net: nn.Module) -> None:
    """Write weights.safetensors, metrics.csv and, when these are whole, run.json into a folder that is there."""
    from safetensors.torch import save

    # Copies, since safetensors refuses tensors that share their memory, as tied weights do.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in net.state_dict().items()}
    with whole_file(folder / "weights.safetensors") as partial:
        partial.write_bytes(save(state))
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
    run: Run = read_record(Run, folder / RECORD, SCHEMA)
    return run


def load_net(folder: Path, run: Run, own: Model | None = None) -> nn.Module:
    """Rebuild a run's net on the CPU, in evaluation mode.

    A user's own model is imported only if `own` names it: a run.json may come from anywhere, and to import is to run.
    Raises RunError if the weights are missing or do not fit, or `own` is not the run's model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if run.model != own and (own is not None or is_own(run.model)):
        raise RunError(f"{folder}: is of the model {run.model}; to import code of that name, pass --model {run.model}")
    file = folder / "weights.safetensors"
    net = build_model(run.model, run.image_shape, len(run.names))
    try:
        net.load_state_dict(load_file(file))
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (SafetensorError, RuntimeError) as error:
        raise RunError(f"{file}: damaged, or not the weights of this run: {brief(error)}") from None
    return net.eval()
