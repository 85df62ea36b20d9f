"""The training loop: `fit`, followed by the functions that it calls, in the order of the calls.

Letters in shapes: B images in a batch, C channels, H height, W width, K classes.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clf_train.data.batches import batches, draw_moves, move, pick, take
from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation, as_tensor
from clf_train.data.preparation import class_weights
from clf_train.errors import RunError, Stopped, TrainError
from clf_train.loop import checkpoint, probe
from clf_train.loop.checkpoint import Epoch, State, new_state
from clf_train.loop.constant_half import memory_format, prepare
from clf_train.loop.distributed import ALONE, World
from clf_train.loop.fitted import Fit
from clf_train.loop.validation import validate_epoch
from clf_train.models.architecture import Hooks, Trick, start_tricks
from clf_train.models.recipe import Recipe, learning_rate

Forward = Callable[[Tensor], Tensor]  # a batch → scores [B, K]

_SAMPLE = 1024  # images, for the tricks
_LOOK_EVERY = 20  # steps between reads of the loss, each of which synchronises the GPU and the processes


@dataclass(frozen=True)
class Watcher:
    """Callbacks for every few steps and every epoch, which may also stop the training.

    `step` gets the epoch, from 1, the number of images in these steps, and the mean loss of the epoch so far; `begin`,
    before the first step, the epochs that are done, if the training is resumed; `note` a sentence for the user.
    """

    step: Callable[[int, int, float], None] = lambda epoch, images, loss: None
    epoch: Callable[[Epoch], None] = lambda epoch: None
    stopping: Callable[[], bool] = lambda: False
    begin: Callable[[Sequence[Epoch]], None] = lambda behind: None
    note: Callable[[str], None] = lambda text: None


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
    tricks: Mapping[str, Trick] = {},
    last_epoch: int | None = None,
    scores: np.ndarray | None = None,
) -> Fit:
    """Train `net`, which is on `device`, in place, on the images of `split` that are not among the rows `held_out`.

    Without `held_out` (int64 [M]) the net ends with the weights of the last epoch, else with those of the epoch with
    the highest accuracy on these rows, or the lowest loss at equal accuracy. With a `state_file` the state is saved
    after each epoch, and an existing one is resumed from, if the net's outputs on the `probe_images` [P, C, H, W] are
    still those saved with it. In a `world` of several processes each takes its part of every batch, and all end with
    the same weights. `tricks` are those of the net's architecture. The training ends after `last_epoch` of the recipe's
    epochs, if that is given. `scores`, float32 [epochs, M, K], gets the net's for the rows held out after each epoch.
    Raises RecipeError if the recipe does not suit the net; TrainError if the loss becomes NaN or infinite, or another
    process is lost; Stopped, after saving the state, if the watcher asks for it; RunError if the state cannot be read;
    OSError if it cannot be written.
    """
    images, labels = as_tensor(split.images), as_tensor(split.labels)
    rows = None if held_out is None else torch.from_numpy(np.setdiff1d(np.arange(len(split)), held_out))
    net.to(memory_format=memory_format(recipe))  # type: ignore[call-overload]
    net.train()
    hooks = start_tricks(tricks, net, _sample(images, rows, normalise, device), recipe)
    state = new_state(net, recipe, device, seed)
    counted = split.labels if rows is None else split.labels[rows.numpy()]
    weights = class_weights(counted, int(split.labels.max()) + 1, recipe)
    on_device = None if weights is None else torch.from_numpy(weights).float().to(device)
    job = _Job(
        images,
        labels,
        rows,
        recipe,
        normalise,
        device,
        seed,
        watcher,
        world,
        hooks,
        state_file,
        probe_images,
        on_device,
        recipe.epochs if last_epoch is None else last_epoch,
    )
    _go_on(job, state)
    watcher.begin(state.history)
    halves = next((hook.halves for hook in hooks if hook.halves is not None), None)
    if halves is not None and world.size == 1:  # several processes synchronise the whole net
        job = replace(job, prepared=prepare(halves, images, recipe, normalise, device))
    synchronised = world.synchronise(net, device)
    forward = synchronised if halves is None or job.prepared is None else halves.trained
    while not _finished(job, state):
        epoch = _train_epoch(job, state, forward)
        if held_out is not None:
            epoch = validate_epoch(state, epoch, split, held_out, normalise, device, world, weights, scores)
        state.history.append(epoch)
        watcher.epoch(epoch)
        state.begin_next_epoch()
        _save(job, state)
        if world.sum((watcher.stopping(),))[0] and not _finished(job, state):
            raise Stopped(state.epoch)
    if state.best is not None:
        net.load_state_dict(state.best.weights)
    net.train()
    for hook in reversed(hooks):
        hook.finish()
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return Fit(tuple(state.history), len(state.history) if state.best is None else state.best.epoch)


@dataclass(frozen=True)
class _Job:
    """What stays constant in a training; it uses the images `rows`, or all if None, weighted by class.

    `prepared`, if it is there, is what the constant half of the net made of the images: see architecture.Halves.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor | None
    recipe: Recipe
    normalise: Normalisation
    device: torch.device
    seed: int
    watcher: Watcher
    world: World
    hooks: Sequence[Hooks]
    state_file: Path | None
    probe_images: np.ndarray | None
    weights: Tensor | None
    epochs: int
    prepared: Tensor | None = None

    @property
    def count(self) -> int:
        """The number of images to train on."""
        return len(self.images if self.rows is None else self.rows)

    def probe(self, net: nn.Module) -> np.ndarray | None:
        """The net's scores for the probe, if there is one."""
        return None if self.probe_images is None else probe.answer(net, self.probe_images, self.normalise, self.device)


def _sample(images: Tensor, rows: Tensor | None, normalise: Normalisation, device: torch.device) -> Tensor:
    """Up to 1,024 of the training images, evenly spread, normalised, float32 [B, C, H, W]."""
    count = len(images if rows is None else rows)
    chosen = torch.linspace(0, count - 1, min(count, _SAMPLE)).long()
    return normalise(take(images, chosen if rows is None else rows[chosen]).to(device))


def _go_on(job: _Job, state: State) -> None:
    """Restore the saved state, if there is one."""
    file, world = job.state_file, job.world
    saved = world.broadcast_bytes(_read(file) if file and file.exists() else b"")
    if not saved:
        return
    scores = checkpoint.unpack(saved, state, job.recipe, job.seed, str(file))
    if (found := job.probe(state.net)) is not None:
        checkpoint.hold_to_probe(scores, found, str(file))
    behind = (state.epoch - 1) * job.count + state.batch * job.recipe.batch_size
    job.watcher.step(state.epoch, behind, float("nan"))
    if not world.writes:  # the saved sums are those of all processes
        state.loss_sum.zero_()
        state.hits.zero_()


def _read(state_file: Path) -> bytes:
    data = state_file.read_bytes()
    if not data:  # several processes would take it for a missing state
        raise RunError(f"{state_file}: damaged: it is empty; train again with --overwrite")
    return data


def _save(job: _Job, state: State) -> None:
    if job.state_file is not None and job.world.writes:
        checkpoint.save(state, job.recipe, job.seed, job.probe(state.net), job.state_file)


def _finished(job: _Job, state: State) -> bool:
    done, patience = state.epoch - 1, job.recipe.patience
    waited = patience and state.best is not None and done - state.best.epoch >= patience
    return done >= job.epochs or bool(waited)


def _train_epoch(job: _Job, state: State, forward: Forward) -> Epoch:
    """Take the steps of an epoch, or the remaining ones."""
    watcher, world, count = job.watcher, job.world, job.count
    begun = time.perf_counter() - state.seconds
    order = _order(job, state)
    seen = reported = min(state.batch * job.recipe.batch_size, count)
    for index in order[state.batch :]:
        seen += _step(job, state, forward, index, len(order))
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
                _save(job, state)
                raise Stopped(state.epoch)
    seconds = time.perf_counter() - begun
    if not all(bool(p.isfinite().all()) for p in state.net.parameters()):  # from the last step, which no loss shows
        raise _lost(float("nan"), state.epoch)
    rate = state.optimizer.param_groups[0]["lr"]
    return Epoch(state.epoch, loss_sum / count, hits / count, rate, seconds, count / seconds)


def _order(job: _Job, state: State) -> list[Tensor | slice]:
    """The batches of the current epoch: newly drawn, or redrawn from the saved order when resuming."""
    now = state.generator.get_state()
    if state.batch == 0:
        state.order = now
        return list(batches(job.count, job.recipe, state.generator, job.rows))
    state.generator.set_state(state.order)
    order = list(batches(job.count, job.recipe, state.generator, job.rows))
    state.generator.set_state(now)
    return order


def _step(job: _Job, state: State, forward: Forward, index: Tensor | slice, steps: int) -> int:
    """Take one of the `steps` of an epoch, with the batch that `index` selects; returns its number of images."""
    recipe, world = job.recipe, job.world
    step = (state.epoch - 1) * steps + state.batch
    done = step / (recipe.epochs * steps)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, done)
    frozen = [p for hook in job.hooks for p in hook.frozen(done)]
    for p in frozen:  # DistributedDataParallel expects gradients of all parameters
        p.requires_grad_(world.size > 1)
    if world.size > 1:  # reseeded in each step, so that random states of other processes need not be saved
        torch.manual_seed(((job.seed * 1_000_003 + step) * world.size + world.rank) % 2**63)
    size = index.stop - index.start if isinstance(index, slice) else len(index)
    mine, weight = world.part_of(size)
    x, y = _load(job, state, index, size, mine)
    with torch.autocast(job.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        scores = forward(x)  # [B, K]
        loss = _loss(scores, y, recipe, job.weights)
    state.optimizer.zero_grad(set_to_none=True)
    (loss if weight == 1 else loss * weight).backward()  # type: ignore[no-untyped-call]
    for p in frozen:
        p.grad = None
    try:
        state.optimizer.step()
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # Muon's, of a gradient that is not finite
        raise _lost(float("nan"), state.epoch) from None
    state.batch += 1
    with torch.no_grad():
        state.loss_sum += loss.detach() * (size * weight / world.size)
        state.hits += (scores.argmax(1) == y).sum() * (weight > 0)
    return size


def _loss(scores: Tensor, y: Tensor, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """The mean cross-entropy of scores [B, K] for labels [B], each image counted by the weight of its class, [K].

    Divided by the number of images, not by the sum of their weights: the parts of several processes then add up.
    """
    if weights is None:
        return F.cross_entropy(scores, y, label_smoothing=recipe.label_smoothing)
    each = F.cross_entropy(scores, y, label_smoothing=recipe.label_smoothing, reduction="none")
    return (each * weights[y]).mean()


def _load(job: _Job, state: State, index: Tensor | slice, size: int, mine: slice) -> tuple[Tensor, Tensor]:
    """The part of a batch of this process: images float32 [B, C, H, W], normalised and augmented, labels int64 [B].

    In place of the images, what was prepared of them, if it was.
    """
    moves = draw_moves(size, job.recipe, state.generator)
    y = job.labels[pick(index, mine)].to(job.device)
    if job.prepared is not None:
        return take(job.prepared, pick(index, mine)).to(job.device), y
    x = job.normalise(take(job.images, pick(index, mine)).to(job.device))
    x = move(x, None if moves is None else moves[:, mine], job.recipe.shift)
    return x.contiguous(memory_format=memory_format(job.recipe)), y


def _lost(loss: float, epoch: int) -> TrainError:
    return TrainError(f"the loss became {loss} in epoch {epoch}: choose a lower learning rate")
