"""What a training step is shown: which images, in which order, moved how.

Letters in shapes: B images in a batch, C channels, H height, W width.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from clf_train.models.recipe import Recipe

_TINY = 32  # such a part of a batch joins the one before: the gradient of so few is noise, at the full learning rate


def batches(
    count: int, recipe: Recipe, generator: torch.Generator, rows: Tensor | None = None
) -> Iterator[Tensor | slice]:
    """Yield what selects each batch of an epoch: slices in the order of the file, or int64 [B] of all or of `rows`."""
    size = recipe.batch_size
    if not recipe.shuffle and rows is None:
        yield from (slice(i, min(i + size, count)) for i in range(0, count, size))
        return
    order = torch.randperm(count, generator=generator) if recipe.shuffle else torch.arange(count)
    split = list(torch.split(order if rows is None else rows[order], size))
    if len(split) > 1 and len(split[-1]) <= max(1, size // _TINY):  # of one image batch norm makes nothing at all
        split[-2:] = [torch.cat(split[-2:])]
    yield from split


def pick(index: Tensor | slice, part: slice) -> Tensor | slice:
    """A part of what selects a batch, every so many of it; `part` has no negative numbers."""
    if isinstance(index, slice):
        stop = index.stop if part.stop is None else min(index.start + part.stop, index.stop)
        return slice(index.start + (part.start or 0), stop, part.step)
    return index[part]


def take(images: Tensor, index: Tensor | slice) -> Tensor:
    """Select a batch; `index_select` is the faster way to do it by numbers."""
    return images[index] if isinstance(index, slice) else images.index_select(0, index)


def draw_moves(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor | None:
    """Draw how each image of a batch is moved: int64 [3, B], or None if the recipe moves none.

    The rows are whether it is mirrored, and its shifts down and right, from 0, which is up or left by all of `shift`.
    """
    if not recipe.flip and not recipe.shift:
        return None
    moves = torch.full((3, count), recipe.shift)
    moves[0] = torch.rand(count, generator=generator) < 0.5 if recipe.flip else 0
    if recipe.shift:
        moves[1:] = torch.randint(2 * recipe.shift + 1, (2, count), generator=generator)
    return moves


def move(x: Tensor, moves: Tensor | None, shift: int) -> Tensor:
    """Mirror images [B, C, H, W] left to right and shift them by up to `shift` pixels, zeros moving in."""
    if moves is None:
        return x
    mirror, down, right = moves.to(x.device)
    if mirror.any():
        x = torch.where(mirror.bool().view(-1, 1, 1, 1), x.flip(3), x)
    if shift:
        windows = F.pad(x, [shift] * 4).unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)
        x = windows[torch.arange(len(x), device=x.device), :, down, right]  # [B, C, H, W]
    return x
