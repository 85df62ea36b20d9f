"""The training loop.

Letters in shapes: B images in a batch, C channels, H height, W width, K classes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clf_train.dataset import Split
from clf_train.errors import TrainError
from clf_train.evaluate import Normalisation, as_tensor, class_scores
from clf_train.muon import Muon
from clf_train.recipe import Recipe, learning_rate

OnStep = Callable[[int, int, float], None]  # epoch (from 1), images of this step, loss so far in this epoch
_LOOK_EVERY = 20  # steps between looks at the loss; each look makes a GPU wait


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
    on_step: OnStep = lambda epoch, images, loss: None,
    held_out: np.ndarray | None = None,
) -> Fit:
    """Train `net`, which is on `device`, in place, on the images of `split` that are not among the rows `held_out`.

    Without `held_out` (int64 [M]) the net ends with the weights of the last epoch, else with those of the epoch of
    the highest accuracy on these rows, of the lowest loss among equals.
    Raises TrainError if the loss becomes NaN or infinite.
    """
    images, labels = as_tensor(split.images), as_tensor(split.labels)
    rows = None if held_out is None else torch.from_numpy(np.setdiff1d(np.arange(len(split)), held_out))
    count = len(split) if rows is None else len(rows)
    generator = torch.Generator().manual_seed(seed)
    optimizer = make_optimizer(net, recipe)
    steps = -(-count // recipe.batch_size) * recipe.epochs
    step = 0
    history: list[Epoch] = []
    best: tuple[tuple[float, float], int, dict[str, Tensor]] | None = None
    memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
    net.to(memory_format=memory_format)  # type: ignore[call-overload]
    net.train()
    for epoch in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        loss_sum, hits = torch.zeros((), device=device), torch.zeros((), device=device)
        seen = unreported = 0
        rate = recipe.learning_rate
        for index in batches(count, recipe, generator, rows):
            rate = learning_rate(recipe, step / steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            x = augment(normalise(take(images, index).to(device)), recipe, generator)  # [B, C, H, W]
            x = x.contiguous(memory_format=memory_format)
            y = labels[index].to(device)  # [B]
            scores = net(x)  # [B, K]
            loss = F.cross_entropy(scores, y, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            try:
                optimizer.step()
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # Muon's, of a gradient that is not finite
                raise _lost(float("nan"), epoch) from None
            step += 1
            seen += len(y)
            unreported += len(y)
            with torch.no_grad():
                loss_sum += loss.detach() * len(y)
                hits += (scores.argmax(1) == y).sum()
            if step % _LOOK_EVERY == 0 or seen == count:
                mean_loss = loss_sum.item() / seen
                if not torch.isfinite(loss_sum):
                    raise _lost(mean_loss, epoch)
                on_step(epoch, unreported, mean_loss)
                unreported = 0
        seconds = time.perf_counter() - start
        figures = (epoch, mean_loss, hits.item() / seen, rate, seconds, seen / seconds)
        if held_out is None:
            history.append(Epoch(*figures))
            continue
        loss_held, accuracy_held = validate(net, split, held_out, normalise, device)
        history.append(Epoch(*figures, loss_held, accuracy_held))
        if best is None or (accuracy_held, -loss_held) > best[0]:
            best = (accuracy_held, -loss_held), epoch, {k: v.clone() for k, v in net.state_dict().items()}
        if recipe.patience and epoch - best[1] >= recipe.patience:
            break
    if best is not None:
        net.load_state_dict(best[2])
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return Fit(tuple(history), recipe.epochs if best is None else best[1])


def validate(
    net: nn.Module, split: Split, rows: np.ndarray, normalise: Normalisation, device: torch.device
) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy of a net, in evaluation mode, on some rows of a split."""
    scores = class_scores(net, split.images, normalise, device, rows)
    labels = torch.from_numpy(split.labels[rows])
    return F.cross_entropy(scores, labels).item(), (scores.argmax(1) == labels).float().mean().item()


def _lost(loss: float, epoch: int) -> TrainError:
    return TrainError(f"the loss became {loss} in epoch {epoch}: choose a lower learning rate")


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of a net."""
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(
                net.parameters(),
                lr=recipe.learning_rate,
                momentum=recipe.momentum,
                nesterov=recipe.nesterov,
                weight_decay=recipe.weight_decay,
            )
        case "adam":
            return torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        case "adamw":
            return torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        case "muon":
            return Muon(net.parameters(), recipe.learning_rate, recipe.momentum, recipe.weight_decay)


def batches(
    count: int, recipe: Recipe, generator: torch.Generator, rows: Tensor | None = None
) -> Iterator[Tensor | slice]:
    """Yield what selects each batch of an epoch: slices in the order of the file, or int64 [B] of all or of `rows`."""
    size = recipe.batch_size
    if not recipe.shuffle and rows is None:
        yield from (slice(i, i + size) for i in range(0, count, size))
        return
    order = torch.randperm(count, generator=generator) if recipe.shuffle else torch.arange(count)
    yield from torch.split(order if rows is None else rows[order], size)


def take(images: Tensor, index: Tensor | slice) -> Tensor:
    """Select a batch; `index_select` is the faster way to do it by numbers."""
    return images[index] if isinstance(index, slice) else images.index_select(0, index)


def augment(x: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Mirror half of [B, C, H, W] left to right and shift each image, as far as the recipe asks for it."""
    count = len(x)
    if recipe.flip:
        mirror = torch.rand(count, generator=generator) < 0.5
        x = torch.where(mirror.to(x.device).view(-1, 1, 1, 1), x.flip(3), x)
    if recipe.shift:
        reach = 2 * recipe.shift + 1
        dy, dx = torch.randint(reach, (2, count), generator=generator).to(x.device)
        windows = F.pad(x, [recipe.shift] * 4).unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)
        x = windows[torch.arange(count, device=x.device), :, dy, dx]  # [B, C, H, W]
    return x
