"""The head of a pretrained net, fitted without steps to the features below it, which are computed once.

The head is a multinomial logistic regression. How strongly its weights are held down (L2) is chosen by predictions for
images that it was not fitted to: those held out if they are enough, else those of each of some folds in turn, which
then fit the temperature too.

Letters in shapes: N images, F features, K classes, R features after a rotation.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from clf_runtime.evaluation.interval import stated
from clf_train.data.dataset import Dataset, Split
from clf_train.data.normalisation import Normalisation, as_tensor
from clf_train.data.preparation import class_weights, validation_rows
from clf_train.errors import Stopped
from clf_train.evaluation.calibration import ENOUGH_TO_CALIBRATE, fit_temperature
from clf_train.loop.checkpoint import Epoch
from clf_train.loop.fit import Watcher
from clf_train.loop.fitted import Fit, HeadFit, OutOfFold
from clf_train.models.recipe import Recipe

FOLDS = 5
# Of half the sum of squared weights, beside the mean cross-entropy (nats): strong first, each fit begins at the last.
PENALTIES = tuple(10 ** (-i / 2) for i in range(10))
_BLOCK = 16  # images at a time
_ITERATIONS = 500


def spare_few(recipe: Recipe, dataset: Dataset, seed: int) -> Recipe:
    """The recipe without its validation share, if it fits a head and that share is too few to fit a temperature to."""
    if not recipe.fit_head or not recipe.validation_share:
        return recipe
    held_out = validation_rows(dataset, recipe, seed)
    enough = held_out is not None and len(held_out) >= ENOUGH_TO_CALIBRATE
    return recipe if enough else replace(recipe, validation_share=0.0)


def fit_head(
    net: nn.Module,
    split: Split,
    normalise: Normalisation,
    device: torch.device,
    seed: int,
    watcher: Watcher,
    held_out: np.ndarray | None,
    recipe: Recipe,
    count: int = FOLDS,
) -> Fit:
    """Fit the head of `net`, which is on `device`, in place, to the images of `split`; the rest stays as it is.

    `net` has `features`, images [B, C, H, W] to float32 [B, F], and `head`, linear [F] to [K] on them. Without
    `held_out` (int64 [M]) every image fits the head in the end, and `count` folds choose the penalty. Raises Stopped if
    the watcher wants it; nothing is saved then, since there is little to do again.
    """
    begun = time.perf_counter()
    head = net.head
    assert isinstance(head, nn.Linear)
    x, y = features(net, split.images, normalise, device, watcher), split.labels
    fitted = np.setdiff1d(np.arange(len(y)), () if held_out is None else held_out)
    of_class = class_weights(y[fitted], head.out_features, recipe)
    counts = np.ones(len(y)) if of_class is None else of_class[y]  # as how many images each counts
    found = regress(x, y, head.out_features, seed, held_out, watcher.stopping, counts, count)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(found.weight))
        head.bias.copy_(torch.from_numpy(found.bias))
    own = x[fitted] @ found.weight.T + found.bias
    judging = found.scores if found.fold is None else nested(found.tried, y, found.fold, counts)
    seconds = time.perf_counter() - begun
    epoch = Epoch(
        epoch=1,
        loss=cross_entropy(own, y[fitted], counts[fitted]),
        accuracy=_accuracy(own, y[fitted]),
        learning_rate=0.0,
        seconds=seconds,
        images_per_second=len(own) / seconds,
        validation_loss=cross_entropy(found.scores, y[found.rows], counts[found.rows]),
        validation_accuracy=_accuracy(judging, y[found.rows]),
    )
    how = "images held out" if held_out is not None else f"images in {found.folds} folds"
    right = stated(_accuracy(judging, y[found.rows]), len(found.rows), how)
    watcher.note(f"the head is fitted: accuracy {right}, {seconds:.1f} s")
    how_fitted = HeadFit(found.penalty, found.folds, len(found.rows))
    if found.fold is None:
        return Fit((epoch,), 1, how_fitted)
    out_of_fold = OutOfFold(judging.astype(np.float32), found.fold, (1,) * found.folds)
    return Fit((epoch,), 1, how_fitted, fit_temperature(torch.from_numpy(found.scores), y), out_of_fold)


@torch.inference_mode()
def features(
    net: nn.Module, images: np.ndarray, normalise: Normalisation, device: torch.device, watcher: Watcher
) -> np.ndarray:
    """The features of images [N, C, H, W], float64 [N, F], by a net in evaluation mode."""
    was_training = net.training
    net.eval()
    tensor = as_tensor(images)
    blocks: list[Tensor] = []
    for first in range(0, len(tensor), _BLOCK):
        if watcher.stopping():
            raise Stopped(1)
        some = tensor[first : first + _BLOCK]
        blocks.append(net.features(normalise(some.to(device))).cpu())  # type: ignore[operator]
        watcher.step(1, len(some), float("nan"))
    net.train(was_training)
    found: np.ndarray = torch.cat(blocks).double().numpy()
    return found


@dataclass(frozen=True)
class Regression:
    """A logistic regression: `weight` float64 [K, F] and `bias` [K], under `penalty`.

    That was chosen by `scores`, float64 [M, K], for the `rows`, int64 [M], by weights that were not fitted to them;
    `tried`, [penalties, M, K], are those under each. `fold`, int64 [N], tells which fold each image was in; it is None
    where rows were held out.
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    folds: int
    rows: np.ndarray
    scores: np.ndarray
    tried: np.ndarray
    fold: np.ndarray | None


def regress(
    x: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    held_out: np.ndarray | None = None,
    stopping: Callable[[], bool] = lambda: False,
    counts: np.ndarray | None = None,
    count: int = FOLDS,
) -> Regression:
    """Fit a regression to features [N, F] and labels int64 [N], under the penalty that has the least cross-entropy.

    It is measured on the rows `held_out`, or without them on each of `count` folds in turn. `counts`, float64 [N],
    is the weight of each image, 1 if None. Raises Stopped if it is `stopping`.
    """
    counts = np.ones(len(labels)) if counts is None else counts
    fits = np.ones(len(labels), bool)
    fold: np.ndarray | None
    if held_out is None:
        fold = folds(labels, count, seed)
        parts = [(fold != i, fold == i) for i in range(int(fold.max()) + 1)]
    else:
        fits[held_out] = False
        fold, parts = None, [(fits, ~fits)]
    rotated, rotation, centre = rotate(x, fits)
    scores = np.zeros((len(PENALTIES), len(labels), classes))
    for fitted, others in parts:
        for i, (weight, bias) in enumerate(solve(rotated[fitted], labels[fitted], classes, PENALTIES, counts[fitted])):
            scores[i, others] = rotated[others] @ weight.T + bias
            if stopping():
                raise Stopped(1)
    rows = np.flatnonzero(np.any([others for _, others in parts], axis=0))
    best = int(np.argmin([cross_entropy(some[rows], labels[rows], counts[rows]) for some in scores]))
    *_, (weight, bias) = solve(rotated[fits], labels[fits], classes, PENALTIES[: best + 1], counts[fits])
    turned = weight @ rotation.T
    return Regression(
        turned,
        bias - turned @ centre,
        PENALTIES[best],
        0 if fold is None else len(parts),
        rows,
        scores[best, rows],
        scores[:, rows],
        fold,
    )


def folds(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Which of `count` folds each image is in, int64 [N]: at random from `seed`, each class spread evenly over them."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % count
    return fold


def nested(scores: np.ndarray, labels: np.ndarray, fold: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Of scores [penalties, N, K] those of each fold by the penalty that is best on the other folds, [N, K].

    What is measured on them is not made better by the choice. Each image counts as so many, float64 [N].
    """
    chosen = np.empty(scores.shape[1:])
    for i in range(int(fold.max()) + 1):
        rest = fold != i
        best = int(np.argmin([cross_entropy(some[rest], labels[rest], counts[rest]) for some in scores]))
        chosen[~rest] = scores[best, ~rest]
    return chosen


def rotate(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn features [N, F] onto the axes that the `rows`, bool [N], spread along; also the turn [F, R] and the centre.

    Where images are fewer than features, R is their number: a regression under L2 does not see the difference, and has
    much less to compute.
    """
    centre = x[rows].mean(axis=0)
    centred = x - centre
    if rows.sum() >= x.shape[1]:
        return centred, np.eye(x.shape[1]), centre
    _, _, axes = np.linalg.svd(centred[rows], full_matrices=False)
    return centred @ axes.T, axes.T, centre


def solve(
    x: np.ndarray, labels: np.ndarray, classes: int, penalties: Sequence[float], counts: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Fit a logistic regression under each penalty in turn: weights float64 [K, R] and biases [K], not held down.

    `counts`, float64 [N], is as how many images each counts; 1 without.
    """
    from scipy.optimize import minimize

    n, width = x.shape
    wanted = np.eye(classes)[labels]
    shares = np.full(n, 1 / n) if counts is None else counts / n

    def loss(flat: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        weight, bias = flat[: classes * width].reshape(classes, width), flat[classes * width :]
        probabilities, log_sum = _softmax(x @ weight.T + bias)
        apart = (probabilities - wanted) * shares[:, None]
        mean = float(shares @ (log_sum - ((x @ weight.T + bias) * wanted).sum(axis=1)))
        gradient = np.concatenate([(apart.T @ x + penalty * weight).ravel(), apart.sum(axis=0)])
        return mean + penalty / 2 * float((weight**2).sum()), gradient

    flat = np.zeros(classes * (width + 1))
    for penalty in penalties:
        options = {"maxiter": _ITERATIONS, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-6}
        flat = minimize(loss, flat, (penalty,), "L-BFGS-B", jac=True, options=options).x
        yield flat[: classes * width].reshape(classes, width).copy(), flat[classes * width :].copy()


def _accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == labels).mean())


def cross_entropy(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray | None = None) -> float:
    """The mean cross-entropy of scores [N, K] in nats, where each image counts as so many, float64 [N]; 1 without."""
    _, log_sum = _softmax(scores)
    return float(np.average(log_sum - scores[np.arange(len(labels)), labels], weights=counts))


def _softmax(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, K], and the logarithms of the sums that they were divided by [N]."""
    highest = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - highest)
    sums = powers.sum(axis=1, keepdims=True)
    return powers / sums, (np.log(sums) + highest)[:, 0]
