"""The batches of a training: which images, in which order, and how they are augmented.

Letters in shapes: B images in a batch, C channels, H height, W width.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from clf_train.models.recipe import Recipe

_TINY = 32  # a last batch of at most 1/32 of the size joins the one before: its gradient is noise


def batches(
    count: int, recipe: Recipe, generator: torch.Generator, rows: Tensor | None = None
) -> Iterator[Tensor | slice]:
    """Yield the index of each batch of an epoch: slices in file order, or int64 [B] of all images or of `rows`."""
    size = recipe.batch_size
    if not recipe.shuffle and rows is None:
        yield from (slice(i, min(i + size, count)) for i in range(0, count, size))
        return
    order = torch.randperm(count, generator=generator) if recipe.shuffle else torch.arange(count)
    split = list(torch.split(order if rows is None else rows[order], size))
    if len(split) > 1 and len(split[-1]) <= max(1, size // _TINY):  # batch norm fails for one image
        split[-2:] = [torch.cat(split[-2:])]
    yield from split


def pick(index: Tensor | slice, part: slice) -> Tensor | slice:
    """A slice of the index of a batch; `part` has no negative numbers."""
    if isinstance(index, slice):
        stop = index.stop if part.stop is None else min(index.start + part.stop, index.stop)
        return slice(index.start + (part.start or 0), stop, part.step)
    return index[part]


def take(images: Tensor, index: Tensor | slice) -> Tensor:
    """Select a batch; `index_select` is faster than indexing by a tensor."""
    return images[index] if isinstance(index, slice) else images.index_select(0, index)


def draw_moves(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor | None:
    """Draw the augmentation of each image of a batch: int64 [3, B], or None if the recipe has none.

    The rows are whether it is flipped, and its shifts down and right, where 0 is up or left by `shift`.
    """
    if not recipe.flip and not recipe.shift:
        return None
    moves = torch.full((3, count), recipe.shift)
    moves[0] = torch.rand(count, generator=generator) < 0.5 if recipe.flip else 0
    if recipe.shift:
        moves[1:] = torch.randint(2 * recipe.shift + 1, (2, count), generator=generator)
    return moves


def move(x: Tensor, moves: Tensor | None, shift: int) -> Tensor:
    """Flip images [B, C, H, W] left to right and shift them by up to `shift` pixels, padded with zeros."""
    if moves is None:
        return x
    mirror, down, right = moves.to(x.device)
    if mirror.any():
        x = torch.where(mirror.bool().view(-1, 1, 1, 1), x.flip(3), x)
    if shift:
        windows = F.pad(x, [shift] * 4).unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)
        x = windows[torch.arange(len(x), device=x.device), :, down, right]  # [B, C, H, W]
    return x
