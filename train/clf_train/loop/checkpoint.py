"""The state of a training: everything that changes, saved atomically and restored bit-identically.

The file is torch.save's output followed by its SHA-256: torch.load, which can read it too, verifies no checksum, and
would resume from a weight with a flipped bit.
"""

import hashlib
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clf_runtime.errors import brief
from clf_train.errors import RunError
from clf_train.files import whole_file
from clf_train.loop import probe
from clf_train.loop.extra_state import changed, outside_state, restore
from clf_train.loop.optimizers import make_optimizer
from clf_train.models.recipe import Recipe

SCHEMA = 2
FILE = "state.pt"
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Epoch:
    """The figures of one pass over the training images: mean loss, accuracy (while the weights changed), and time.

    `learning_rate` is that of its last step; `seconds` includes training only. The validation figures, for the weights
    at the end of the epoch, are None if no images were held out.
    """

    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Best:
    """The weights of the best epoch so far, and their validation figures."""

    epoch: int
    accuracy: float
    loss: float
    weights: dict[str, Tensor]


@dataclass
class State:
    """Everything that changes in a training. Between two steps it can be saved, to resume as if there was no stop.

    `epoch`, from 1, is the current one, `batch` the number of its batches that are done; `order` is the state of the
    generator from which its order was drawn. `loss_sum` and `hits` are over its images so far, `seconds` its time.
    `outside` is what a new net holds outside of its state_dict (see extra_state.py): what has changed of it is saved.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    order: Tensor
    loss_sum: Tensor
    hits: Tensor
    outside: dict[str, Any]
    epoch: int = 1
    batch: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    best: Best | None = None

    def begin_next_epoch(self) -> None:
        """Close the current epoch."""
        self.epoch, self.batch, self.seconds = self.epoch + 1, 0, 0.0
        self.loss_sum.zero_()
        self.hits.zero_()


def new_state(net: nn.Module, recipe: Recipe, device: torch.device, seed: int) -> State:
    """The state before the first step of a net that is on `device`."""
    generator = torch.Generator().manual_seed(seed)
    zero = torch.zeros((), device=device)
    optimizer = make_optimizer(net, recipe)
    return State(net, optimizer, generator, generator.get_state(), zero, zero.clone(), outside_state(net))


def pack(state: State, recipe: Recipe, seed: int, scores: np.ndarray | None = None) -> bytes:
    """The state as the bytes of a file: tensors, numbers and strings that `weights_only` reads, and a digest.

    `seed` is that of the training, `scores` are the net's for its probe, float32 [P, K].
    """
    cuda = state.loss_sum.is_cuda
    content = {
        "schema": SCHEMA,
        "recipe": asdict(recipe),
        "seed": seed,
        "net": state.net.state_dict(),
        "new_outside": state.outside,
        "outside": changed(state.outside, outside_state(state.net)),
        "probe": None if scores is None else torch.from_numpy(scores),
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "torch_generator": torch.get_rng_state(),  # for nets that draw random numbers, as with dropout
        "cuda_generator": torch.cuda.get_rng_state() if cuda else None,
        "order": state.order,
        "loss_sum": state.loss_sum,
        "hits": state.hits,
        "epoch": state.epoch,
        "batch": state.batch,
        "seconds": state.seconds,
        "history": [asdict(epoch) for epoch in state.history],
        "best": None if state.best is None else vars(state.best),
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue() + hashlib.sha256(stream.getbuffer()).digest()


def unpack(data: bytes, state: State, recipe: Recipe, seed: int, where: str) -> np.ndarray | None:
    """Restore the state packed in `data`, and return the scores that were packed with it.

    Raises RunError, naming the file `where`, if it is damaged or of another recipe, seed or net.
    """
    saved, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    try:
        if hashlib.sha256(saved).digest() != digest:
            raise ValueError("its checksum does not match")
        content: dict[str, Any] = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
        if (content["schema"], content["recipe"], content["seed"]) != (SCHEMA, asdict(recipe), seed):
            raise ValueError("it is of another recipe, seed or version of clf-edge")
        edited = sorted(changed(content["new_outside"], state.outside) | changed(state.outside, content["new_outside"]))
        if edited:
            raise ValueError(f"the net has other attributes now ({', '.join(edited[:5])}): restore its code")
        state.net.load_state_dict(content["net"])
        restore(state.net, content["outside"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.generator.set_state(content["generator"])
        torch.set_rng_state(content["torch_generator"])
        if content["cuda_generator"] is not None and state.loss_sum.is_cuda:
            torch.cuda.set_rng_state(content["cuda_generator"])
        state.order = content["order"]
        state.loss_sum.copy_(content["loss_sum"])
        state.hits.copy_(content["hits"])
        state.epoch, state.batch, state.seconds = content["epoch"], content["batch"], content["seconds"]
        state.history = [Epoch(**epoch) for epoch in content["history"]]
        state.best = None if content["best"] is None else Best(**content["best"])
    except Exception as error:  # torch.load and load_state_dict may raise anything
        raise RunError(f"{where}: damaged, or of another training: {brief(error)}; train again") from None
    return None if content["probe"] is None else content["probe"].numpy()


def hold_to_probe(scores: np.ndarray | None, found: np.ndarray, where: str) -> None:
    """Compare a restored net's scores with those that were saved with its state, float32 [P, K] each.

    Raises RunError, naming the file `where`, if they differ by more than rounding.
    """
    difference = "no scores were saved" if scores is None else probe.differing(scores, found)
    if difference:
        raise RunError(
            f"{where}: the weights are as saved, but the net gives other outputs now ({difference}): its code has "
            "changed, or it has state that cannot be saved; restore the code, or train again with --overwrite"
        )


def save(state: State, recipe: Recipe, seed: int, scores: np.ndarray | None, file: Path) -> None:
    """Write the state atomically. Raises OSError as the system does."""
    data = pack(state, recipe, seed, scores)
    with whole_file(file) as partial:
        partial.write_bytes(data)
