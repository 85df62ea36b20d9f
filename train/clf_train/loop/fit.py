"""The training loop.

Letters in shapes: B images in a batch, C channels, H height, W width, K classes.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from clf_train.data.batches import batches, draw_moves, move, pick, take
from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation, as_tensor
from clf_train.errors import RecipeError, RunError, Stopped, TrainError
from clf_train.evaluation.inference import class_scores
from clf_train.loop import checkpoint, probe
from clf_train.loop.checkpoint import Best, Epoch, State
from clf_train.loop.distributed import ALONE, World
from clf_train.loop.extra_state import outside_state
from clf_train.loop.muon import Muon
from clf_train.models.low_frequencies import narrow
from clf_train.models.recipe import Recipe, learning_rate

_MOST_SCORES = 1 << 25  # numbers that a validation holds at a time, whatever the number of classes
_LOOK_EVERY = 20  # steps between looks at the loss; each look makes a GPU wait, and several processes agree


@dataclass(frozen=True)
class Watcher:
    """Who is told of every few steps and of every epoch, and asked whether to stop.

    `step` gets the epoch, from 1, the images of these steps, and the mean loss of the epoch so far; `begin`, before the
    first step, the epochs that are behind: none unless the training is gone on with; `note` a sentence for the user.
    """

    step: Callable[[int, int, float], None] = lambda epoch, images, loss: None
    epoch: Callable[[Epoch], None] = lambda epoch: None
    stopping: Callable[[], bool] = lambda: False
    begin: Callable[[Sequence[Epoch]], None] = lambda behind: None
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Fit:
    """How a training went: each epoch, and which of them the net has the weights of."""

    history: tuple[Epoch, ...]
    best_epoch: int


def fit(
    net: nn.Module,
    split: Split,
    recipe: Recipe,
    normalise: Normalisation,
    device: torch.device,
    seed: int,
    watcher: Watcher = Watcher(),
    held_out: np.ndarray | None = None,
    state_file: Path | None = None,
    world: World = ALONE,
    probe_images: np.ndarray | None = None,
) -> Fit:
    """Train `net`, which is on `device`, in place, on the images of `split` that are not among the rows `held_out`.

    Without `held_out` (int64 [M]) the net ends with the weights of the last epoch, else with those of the epoch of
    the highest accuracy on these rows, of the lowest loss among equals. With a `state_file` the state is saved after
    each epoch, and a training that left one there goes on from it, if the net still answers the `probe_images`
    [P, C, H, W] as it did when it was saved. In a `world` of several processes each takes its share of every batch, and
    all end with the same weights.
    Raises RecipeError if the recipe is not for such a net; TrainError if the loss becomes NaN or infinite, or another
    process is lost; Stopped, the state saved, if the watcher wants it; RunError if the state cannot be read; OSError if
    it cannot be written.
    """
    images, labels = as_tensor(split.images), as_tensor(split.labels)
    rows = None if held_out is None else torch.from_numpy(np.setdiff1d(np.arange(len(split)), held_out))
    count = len(split) if rows is None else len(rows)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    net.to(memory_format=layout)  # type: ignore[call-overload]
    net.train()
    widen = narrow(net, split.images.shape[1:], recipe.low_frequencies) if recipe.low_frequencies else None
    state = _begin(net, recipe, device, seed)

    def probed() -> np.ndarray | None:
        return None if probe_images is None else probe.answer(net, probe_images, normalise, device)

    saved = world.share_bytes(_read(state_file) if state_file and state_file.exists() else b"")
    if saved:
        scores = checkpoint.unpack(saved, state, recipe, seed, str(state_file))
        if (found := probed()) is not None:
            checkpoint.hold_to_probe(scores, found, str(state_file))
        watcher.step(state.epoch, (state.epoch - 1) * count + state.batch * recipe.batch_size, float("nan"))
        if not world.writes:  # what was saved are the sums of all processes
            state.loss_sum.zero_()
            state.hits.zero_()

    watcher.begin(state.history)

    def save() -> None:
        if state_file is not None and world.writes:
            checkpoint.save(state, recipe, seed, probed(), state_file)

    synchronised = world.synchronise(net, device)
    frozen: list[nn.Parameter] = []
    while not _finished(state, recipe):
        begun = time.perf_counter() - state.seconds
        order = _order(state, count, recipe, rows)
        seen = reported = min(state.batch * recipe.batch_size, count)
        for index in order[state.batch :]:
            done = ((state.epoch - 1) * len(order) + state.batch) / (recipe.epochs * len(order))
            rate = learning_rate(recipe, done)
            if done >= recipe.freeze_after and not frozen:
                frozen = _freeze(net, world)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            if world.size > 1:  # each process draws a net's own numbers (dropout) anew: none need be saved of others
                step = (state.epoch - 1) * len(order) + state.batch
                torch.manual_seed(((seed * 1_000_003 + step) * world.size + world.rank) % 2**63)
            size = index.stop - index.start if isinstance(index, slice) else len(index)
            moves = draw_moves(size, recipe, state.generator)
            mine, weight = world.part_of(size)
            x = normalise(take(images, pick(index, mine)).to(device))  # [B, C, H, W]
            x = move(x, None if moves is None else moves[:, mine], recipe.shift).contiguous(memory_format=layout)
            y = labels[pick(index, mine)].to(device)  # [B]
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                scores = synchronised(x)  # [B, K]
                loss = F.cross_entropy(scores, y, label_smoothing=recipe.label_smoothing)
            state.optimizer.zero_grad(set_to_none=True)
            (loss if weight == 1 else loss * weight).backward()  # type: ignore[no-untyped-call]
            for p in frozen:
                p.grad = None
            try:
                state.optimizer.step()
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # Muon's, of a gradient that is not finite
                raise _lost(float("nan"), state.epoch) from None
            state.batch += 1
            seen += size
            with torch.no_grad():
                state.loss_sum += loss.detach() * (size * weight / world.size)
                state.hits += (scores.argmax(1) == y).sum() * (weight > 0)
            if state.batch % _LOOK_EVERY == 0 or seen == count or (world.size == 1 and watcher.stopping()):
                loss_sum, hits, stops = world.sum((state.loss_sum.item(), state.hits.item(), watcher.stopping()))
                if not math.isfinite(loss_sum):
                    raise _lost(loss_sum, state.epoch)
                watcher.step(state.epoch, seen - reported, loss_sum / seen)
                reported = seen
                if stops and seen < count:
                    state.seconds = time.perf_counter() - begun
                    state.loss_sum.fill_(loss_sum)
                    state.hits.fill_(hits)
                    save()
                    raise Stopped(state.epoch)
        seconds = time.perf_counter() - begun
        if not all(bool(p.isfinite().all()) for p in net.parameters()):  # the last step's doing, which no loss shows
            raise _lost(float("nan"), state.epoch)
        epoch = Epoch(state.epoch, loss_sum / count, hits / count, rate, seconds, count / seconds)
        if held_out is not None:
            epoch = _look_at_validation(state, epoch, split, held_out, normalise, device, world)
        state.history.append(epoch)
        watcher.epoch(epoch)
        state.epoch, state.batch, state.seconds = state.epoch + 1, 0, 0.0
        state.loss_sum.zero_()
        state.hits.zero_()
        save()
        if world.sum((watcher.stopping(),))[0] and not _finished(state, recipe):
            raise Stopped(state.epoch)
    if state.best is not None:
        net.load_state_dict(state.best.weights)
    for p in frozen:
        p.requires_grad_(True)
    net.train()
    if widen is not None:
        widen()
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return Fit(tuple(state.history), len(state.history) if state.best is None else state.best.epoch)


def _begin(net: nn.Module, recipe: Recipe, device: torch.device, seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    zero = torch.zeros((), device=device)
    optimizer = make_optimizer(net, recipe)
    return State(net, optimizer, generator, generator.get_state(), zero, zero.clone(), outside_state(net))


def _read(state_file: Path) -> bytes:
    data = state_file.read_bytes()
    if not data:  # a training of several processes would take it for none
        raise RunError(f"{state_file}: damaged: it is empty; train again with --overwrite")
    return data


def _finished(state: State, recipe: Recipe) -> bool:
    done = state.epoch - 1
    waited = recipe.patience and state.best is not None and done - state.best.epoch >= recipe.patience
    return done >= recipe.epochs or bool(waited)


def _order(state: State, count: int, recipe: Recipe, rows: Tensor | None) -> list[Tensor | slice]:
    """The batches of the epoch at work: drawn, or drawn once more where some of them are behind."""
    now = state.generator.get_state()
    if state.batch == 0:
        state.order = now
        return list(batches(count, recipe, state.generator, rows))
    state.generator.set_state(state.order)
    order = list(batches(count, recipe, state.generator, rows))
    state.generator.set_state(now)
    return order


def first_layer(net: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn before the second matrix or kernel: those of the first layer, with its batch norm.

    Raises RecipeError if there is no second one.
    """
    parameters = list(net.parameters())
    weights = [i for i, p in enumerate(parameters) if p.ndim >= 2]
    if len(weights) < 2:
        raise RecipeError("freeze after must be 1 for this model: it has one layer only")
    return [p for p in parameters[: weights[1]] if p.requires_grad]


def _freeze(net: nn.Module, world: World) -> list[nn.Parameter]:
    """Freeze the first layer, with its batch norm's statistics as they stand, and return its parameters.

    Statistics of a batch norm that has no scale to learn go on.
    """
    frozen = first_layer(net)
    for p in frozen:  # DistributedDataParallel wants all the gradients that it began with
        p.requires_grad_(world.size > 1)
    for module in net.modules():
        if isinstance(module, _BatchNorm) and any(module.weight is p for p in frozen):
            module.eval()
    return frozen


def _look_at_validation(
    state: State,
    epoch: Epoch,
    split: Split,
    held_out: np.ndarray,
    normalise: Normalisation,
    device: torch.device,
    world: World,
) -> Epoch:
    """Add the validation figures to an epoch, and keep the weights if they are the best yet."""
    figures = validate(state.net, split, held_out, normalise, device) if world.writes else (0.0, 0.0)
    loss, accuracy = world.share(figures)
    if state.best is None or (accuracy, -loss) > (state.best.accuracy, -state.best.loss):
        weights = {name: value.clone() for name, value in state.net.state_dict().items()}
        state.best = Best(epoch.epoch, accuracy, loss, weights)
    return replace(epoch, validation_loss=loss, validation_accuracy=accuracy)


def validate(
    net: nn.Module, split: Split, rows: np.ndarray, normalise: Normalisation, device: torch.device
) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy of a net, in evaluation mode, on some rows of a split."""
    block = max(1, _MOST_SCORES // (int(split.labels.max()) + 1))
    loss, accuracy = 0.0, 0.0
    for first in range(0, len(rows), block):
        some = rows[first : first + block]
        scores = class_scores(net, split.images, normalise, device, some)
        labels = torch.from_numpy(split.labels[some])
        share = len(some) / len(rows)
        loss += share * F.cross_entropy(scores, labels).item()
        accuracy += share * (scores.argmax(1) == labels).float().mean().item()
    return loss, accuracy


def _lost(loss: float, epoch: int) -> TrainError:
    return TrainError(f"the loss became {loss} in epoch {epoch}: choose a lower learning rate")


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of a net."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    match recipe.optimizer:
        case "sgd":
            # One pass over all parameters is faster; without momentum it would not round as plain SGD does.
            fused = recipe.momentum > 0
            return torch.optim.SGD(
                net.parameters(), rate, recipe.momentum, weight_decay=decay, nesterov=recipe.nesterov, fused=fused
            )
        case "adam":
            return torch.optim.Adam(net.parameters(), rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
        case "muon":
            return Muon(net.parameters(), rate, recipe.momentum, decay)
