"""Validation: the loss and accuracy on held-out images, and the weights of the best epoch so far."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation
from clf_train.evaluation.inference import class_scores
from clf_train.loop.checkpoint import Best, Epoch, State
from clf_train.loop.distributed import World

_MOST_SCORES = 1 << 25  # scores in memory at a time, whatever the number of classes


def validate_epoch(
    state: State,
    epoch: Epoch,
    split: Split,
    held_out: np.ndarray,
    normalise: Normalisation,
    device: torch.device,
    world: World,
    weights: np.ndarray | None = None,
    scores: np.ndarray | None = None,
) -> Epoch:
    """Add the validation figures to an epoch, and keep the weights if they are the best so far.

    Images are weighted by class if `weights`, float64 [K], are given. The net's scores for the images are stored in
    `scores`, float32 [epochs, M, K], if given.
    """
    into = None if scores is None else scores[epoch.epoch - 1]
    figures = validate(state.net, split, held_out, normalise, device, weights, into) if world.writes else (0.0, 0.0)
    loss, accuracy = world.broadcast(figures)
    if state.best is None or (accuracy, -loss) > (state.best.accuracy, -state.best.loss):
        kept = {name: value.clone() for name, value in state.net.state_dict().items()}
        state.best = Best(epoch.epoch, accuracy, loss, kept)
    return replace(epoch, validation_loss=loss, validation_accuracy=accuracy)


def validate(
    net: nn.Module,
    split: Split,
    rows: np.ndarray,
    normalise: Normalisation,
    device: torch.device,
    weights: np.ndarray | None = None,
    into: np.ndarray | None = None,
) -> tuple[float, float]:
    """The mean cross-entropy (nats) and accuracy of a net, in evaluation mode, on some rows of a split.

    Images are weighted by class if `weights`, float64 [K], are given; the scores are stored in `into`, float32 [M, K].
    """
    block = max(1, _MOST_SCORES // (int(split.labels.max()) + 1))
    loss, accuracy = 0.0, 0.0
    total = None if weights is None else weights[split.labels[rows]].sum()
    for first in range(0, len(rows), block):
        some = rows[first : first + block]
        scores = class_scores(net, split.images, normalise, device, some)
        labels = torch.from_numpy(split.labels[some])
        if into is not None:
            into[first : first + block] = scores.numpy()
        if weights is not None:
            each = torch.from_numpy(weights[split.labels[some]] / total)
            loss += float(each @ F.cross_entropy(scores, labels, reduction="none").double())
            accuracy += float(each @ (scores.argmax(1) == labels).double())
            continue
        share = len(some) / len(rows)
        loss += share * F.cross_entropy(scores, labels).item()
        accuracy += share * (scores.argmax(1) == labels).float().mean().item()
    return loss, accuracy
