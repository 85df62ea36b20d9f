"""The state of a training: what changes as it goes, saved whole and read back to the last bit.

A file of it is what torch.save makes, with the SHA-256 of that behind it: torch.load, which reads it too, looks at no
checksum, and would go on from a weight with another exponent.
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
    """What one pass over the training images did: mean loss, share of right answers (as the weights moved), and time.

    `learning_rate` is that of its last step; `seconds` hold the training alone. The validation figures, of the weights
    as the epoch left them, are None where no images were held out.
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
    """The weights of the best epoch yet, and what they did on the validation images."""

    epoch: int
    accuracy: float
    loss: float
    weights: dict[str, Tensor]


@dataclass
class State:
    """All that changes in a training. Between two steps it can be saved, and gone on from as if it had not stopped.

    `epoch`, from 1, is the one at work, and `batch` of its batches are behind; `order` is the generator's state from
    which its order was drawn. `loss_sum` and `hits` are over its images so far, `seconds` its time. `outside` is what
    the net held outside of its state_dict when it was new (see extra_state.py): what changes of it is saved.
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
        """Close the epoch at work."""
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
    """The state as a file: tensors, numbers and texts that `weights_only` reads, and a digest.

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
        "torch_generator": torch.get_rng_state(),  # for nets that draw numbers of their own, dropout for one
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
    """Bring a fresh state to where `data` was packed, and return the scores that were packed with it.

    Raises RunError, naming the file `where`, if it is damaged or of another recipe, seed or net.
    """
    saved, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    try:
        if hashlib.sha256(saved).digest() != digest:
            raise ValueError("its checksum is wrong")
        content: dict[str, Any] = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
        if (content["schema"], content["recipe"], content["seed"]) != (SCHEMA, asdict(recipe), seed):
            raise ValueError("it is of another recipe, seed or version of clf-edge")
        edited = sorted(changed(content["new_outside"], state.outside) | changed(state.outside, content["new_outside"]))
        if edited:
            raise ValueError(
                f"the net is made otherwise now, by {', '.join(edited[:5])}: bring its code back as it was"
            )
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
    except Exception as error:  # torch.load and load_state_dict raise whatever they met
        raise RunError(f"{where}: damaged, or of another training: {brief(error)}; train again") from None
    return None if content["probe"] is None else content["probe"].numpy()


def hold_to_probe(scores: np.ndarray | None, found: np.ndarray, where: str) -> None:
    """Hold a net that goes on to the scores that were saved with its state, float32 [P, K] each.

    Raises RunError, naming the file `where`, if they differ by more than rounding.
    """
    difference = "no scores are there" if scores is None else probe.differing(scores, found)
    if difference:
        raise RunError(
            f"{where}: the weights are as they were saved, but the net is another now ({difference}): its code has "
            "changed, or it keeps what cannot be saved; bring the code back as it was, or train again with --overwrite"
        )


def save(state: State, recipe: Recipe, seed: int, scores: np.ndarray | None, file: Path) -> None:
    """Write the state, whole or not at all. Raises OSError as the system does."""
    data = pack(state, recipe, seed, scores)
    with whole_file(file) as partial:
        partial.write_bytes(data)
