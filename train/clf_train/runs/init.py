"""What a training begins with: a new net, pretrained weights, or those of an earlier run (--init)."""

from pathlib import Path

import torch
from torch import nn

from clf_train.data.dataset import Dataset
from clf_train.data.normalisation import Normalisation
from clf_train.data.preparation import choose_normalisation
from clf_train.errors import RunError
from clf_train.models.recipe import Recipe
from clf_train.models.registry import Model, build_model, find_architecture, is_own
from clf_train.runs.run import Init, Run, find_runs, load_net, read_run


def find_init(folder: Path) -> tuple[Model, Init]:
    """Find the run whose weights a training is to begin with, and its model. Raises RunError if it is not one run."""
    runs = find_runs(folder)
    if len(runs) > 1:
        raise RunError(
            f"{folder}: holds the runs {', '.join(run.name for run in runs)}; name the folder of one of them"
        )
    run = read_run(runs[0])
    if run.weights_sha256 is None:
        raise RunError(f"{folder}: is of an earlier clf-edge, and nothing shows that its weights are its own")
    return run.model, Init(str(runs[0].resolve()), run.weights_sha256)


def read_init(init: Init | None) -> Run | None:
    """The run that a training begins with. Raises RunError if it is no longer the one that it was."""
    if init is None:
        return None
    run = read_run(Path(init.folder))
    if run.weights_sha256 != init.weights_sha256:
        raise RunError(f"{init.folder}: is another run than the training began with (its weights are others)")
    return run


def start_net(model: Model, dataset: Dataset, init: Init | None) -> tuple[nn.Module, str]:
    """Make a net as its training begins, on the CPU, and say in a sentence what it begins with, if that is anything.

    Raises RunError if the weights of `init` do not fit, MissingExtraError if pretrained ones are not installed, and
    what build_model does.
    """
    net = build_model(model, dataset.image_shape, len(dataset.names))
    architecture = find_architecture(model)
    if init is None:
        architecture.load(net)
        return net, f"it starts from {architecture.pretrained}" if architecture.pretrained else ""
    run = read_init(init)
    assert run is not None
    folder = Path(init.folder)
    if run.model != model:
        raise RunError(f"{folder}: is of the model {run.model}, and cannot begin {model}")
    with torch.random.fork_rng([]):  # what a net draws later must not depend on this
        old = load_net(folder, run, model if is_own(model) else None).state_dict()
        head = set() if run.names == dataset.names else _head(run)
    new = net.state_dict()
    kept = {name: value for name, value in old.items() if name not in head}
    for name, value in kept.items():
        if name not in new or new[name].shape != value.shape:
            raise RunError(
                f"{folder}: its images are {_x(run.image_shape)}, and its weight {name} does not fit a net for "
                f"{_x(dataset.image_shape)}; bring the images to its size"
            )
    net.load_state_dict({**new, **kept})
    parts = f"all weights of {folder.name}"
    if head:
        parts = f"the weights of {folder.name} but for {', '.join(sorted(head))}, since the classes are others"
    return net, f"it starts from {parts}"


def start_normalisation(model: Model, dataset: Dataset, recipe: Recipe, init: Init | None) -> Normalisation:
    """What images are normalised by: what the first weights were trained with, in the units of these images."""
    low, high = dataset.value_range
    if (run := read_init(init)) is not None:
        was_low, was_high = run.value_range
        scale = (high - low) / (was_high - was_low)
        mean = (low + scale * (m - was_low) for m in run.normalisation.mean)
        return Normalisation(tuple(mean), tuple(scale * s for s in run.normalisation.std))
    if (weights := find_architecture(model).pretrained) is not None:
        return Normalisation(*weights.normalisation(dataset.value_range, dataset.image_shape[0]))
    return choose_normalisation(dataset, recipe)


def pretrained_source(model: Model, init: Init | None) -> str:
    """Source and licence of the weights that a net came with, by itself or by the run it begins with; else nothing."""
    if (run := read_init(init)) is not None:
        return run.pretrained
    weights = find_architecture(model).pretrained
    return "" if weights is None else str(weights)


def _head(run: Run) -> set[str]:
    """The names of those weights of a run's net whose shape depends on the number of classes."""
    more, fewer = (build_model(run.model, run.image_shape, len(run.names) + n).state_dict() for n in (1, 0))
    return {name for name, value in more.items() if name not in fewer or fewer[name].shape != value.shape}


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
