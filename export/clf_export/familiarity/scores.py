"""Scores of how familiar an image is, by its features, from the answers to two questions.

Is it a picture of this kind, and is it one of these classes?

The first is answered by the Mahalanobis distance to the training images' features (Lee et al., 2018, "A simple unified
framework for detecting out-of-distribution samples and adversarial attacks", https://arxiv.org/abs/1807.03888) and by a
small net that tells them from made outliers (Hendrycks et al., 2019, https://arxiv.org/abs/1812.04606); the second by
the largest logit (Vaze et al., 2022, "Open-set recognition: a good closed-set classifier is all you need?",
https://arxiv.org/abs/2110.06207). What answers the first well is worth little for the second: so it only counts where
an image is among the least familiar 15 %.

Letters in shapes: N images, D features.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor, nn

Score = Callable[[np.ndarray], np.ndarray]  # standardised features, float32 [N, D], to one number each, [N]

# Chosen on nets that were trained without three of the ten classes: docs/familiarity.md
_TAIL = 0.15  # the share of the known images in which the first question counts
_FORCE = 2.0  # and how much
_CLAMP = 10.0  # standard deviations
_HIDDEN = (64, 16)
_BATCH = 256


def fit_score(known: np.ndarray, outliers: np.ndarray, held_out: np.ndarray) -> Score:
    """A score of standardised features, whose last is the largest logit, from those of three sets of images, [N, D].

    The logarithm of the share of `held_out` images with a smaller largest logit, and below that of the tail (above).
    """
    distance = _distance(known)
    told = _small_net(known, outliers)
    by_distance, by_net = _log_rank(distance(held_out)), _log_rank(told(held_out))

    def kind(x: np.ndarray) -> np.ndarray:
        return by_distance(distance(x)) + by_net(told(x))

    by_kind, by_logit = _log_rank(kind(held_out)), _log_rank(held_out[:, -1])
    return lambda x: by_logit(x[:, -1]) + _FORCE * np.minimum(0, by_kind(kind(x)) - np.log(_TAIL))


def distil(score: Score, known: np.ndarray, outliers: np.ndarray, columns: np.ndarray) -> nn.Sequential:
    """A net of three layers, E → 64 → 16 → 1, that gives a score in one pass (see `squash`) by few features.

    These are the `columns`, int64 [E], of the features [N, D]. The net learns from the features themselves, from points
    between known ones and outliers, and from known ones under noise. After Hinton et al., 2015, "Distilling the
    knowledge in a neural network", https://arxiv.org/abs/1503.02531.
    """
    random = np.random.default_rng(0)
    between = []
    for _ in range(2):
        share = random.random((len(outliers), 1), np.float32)
        between.append(share * known[random.integers(len(known), size=len(outliers))] + (1 - share) * outliers)
    spread = random.uniform(0, 2.5, (len(known), 1)).astype(np.float32)
    noisy = known * spread + random.standard_normal(known.shape, np.float32) * random.uniform(0, 2, (len(known), 1))
    x = np.concatenate([known, known, outliers, *between, noisy.astype(np.float32)])
    return _trained(_HIDDEN, x[:, columns], squash(score(x)), nn.SmoothL1Loss(reduction="none"), epochs=12, rate=4e-3)


def squash(score: np.ndarray) -> np.ndarray:
    """A score without its long tail, in the same order: what a net is asked to give."""
    return np.where(score > -2, score, -2 - np.log1p(np.maximum(0, -2 - score))).astype(np.float32)


def _log_rank(known: np.ndarray) -> Score:
    """The logarithm of the share of `known` scores [N] that are smaller, never quite none nor all."""
    ordered = np.sort(known)
    return lambda scores: np.log((np.searchsorted(ordered, scores) + 0.5) / (len(ordered) + 1))


def _distance(known: np.ndarray) -> Score:
    """Minus the squared Mahalanobis distance, with the covariance shrunk after Ledoit and Wolf (2004)."""
    mean = known.mean(axis=0, dtype=np.float64)
    inverse = np.linalg.pinv(ledoit_wolf(known)[0], hermitian=True)

    def distance(x: np.ndarray) -> np.ndarray:
        away = x - mean
        squared: np.ndarray = np.einsum("nd,nd->n", away @ inverse, away)
        return -squared

    return distance


def _small_net(known: np.ndarray, outliers: np.ndarray) -> Score:
    """A net of one hidden layer that tells the two sets apart, both of the same weight."""
    x = np.concatenate([known, outliers]).clip(-_CLAMP, _CLAMP)
    y = np.concatenate([np.ones(len(known)), np.zeros(len(outliers))]).astype(np.float32)
    weights = np.where(y > 0, len(x) / (2 * len(known)), len(x) / (2 * len(outliers))).astype(np.float32)
    net = _trained((32,), x, y, nn.BCEWithLogitsLoss(reduction="none"), epochs=10, rate=2e-3, weights=weights)

    def told(features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits: np.ndarray = net(torch.from_numpy(features.clip(-_CLAMP, _CLAMP)))[:, 0].numpy()
        return logits

    return told


def _trained(
    hidden: tuple[int, ...],
    x: np.ndarray,
    y: np.ndarray,
    loss: nn.Module,
    *,
    epochs: int,
    rate: float,
    weights: np.ndarray | None = None,
) -> nn.Sequential:
    """A net with layers of these `hidden` sizes, trained to give y [N] for x [N, D]; the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = (x.shape[1], *hidden, 1)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        net = nn.Sequential(*layers[:-1])
        inputs, wanted = torch.from_numpy(x.astype(np.float32, copy=False)), torch.from_numpy(y)
        share: Tensor = torch.ones(len(x)) if weights is None else torch.from_numpy(weights)
        optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-3)
        steps = epochs * -(-len(x) // _BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(x)), _BATCH):
                optimizer.zero_grad()
                (loss(net(inputs[rows])[:, 0], wanted[rows]) * share[rows]).mean().backward()
                optimizer.step()
                schedule.step()
    return net.eval()
