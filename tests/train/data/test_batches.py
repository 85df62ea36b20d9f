from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from clf_train.data.batches import batches, draw_moves, move, pick
from clf_train.models.recipe import Recipe

PLAIN = Recipe("plain", 2, 8, 0.05, momentum=0.9)


def of(index):
    return list(range(100))[index] if isinstance(index, slice) else index.tolist()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("rows", [None, torch.arange(0, 60, 3)])
def test_every_image_is_in_one_batch_of_an_epoch(shuffle, rows):
    count = 21 if rows is None else len(rows)
    order = list(batches(count, replace(PLAIN, shuffle=shuffle), torch.Generator().manual_seed(0), rows))
    assert [len(of(index)) for index in order] == ([8, 8, 5] if rows is None else [8, 8, 4])
    everything = [i for index in order for i in of(index)]
    expected = list(range(21)) if rows is None else rows.tolist()
    assert sorted(everything) == expected
    assert (everything == expected) == (not shuffle)


@pytest.mark.parametrize(("count", "sizes"), [(131, [64, 64, 3]), (130, [64, 66]), (129, [64, 65]), (2, [2])])
def test_a_few_images_that_are_left_join_the_batch_before(count, sizes):
    order = batches(count, replace(PLAIN, batch_size=64), torch.Generator().manual_seed(0))
    assert [len(index) for index in order] == sizes


@pytest.mark.parametrize("index", [slice(16, 21), torch.tensor([5, 3, 9, 1, 7])])
def test_the_parts_of_a_batch_are_the_batch(index):
    parts = [of(pick(index, slice(rank, None, 3))) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert [parts[i % 3][i // 3] for i in range(5)] == of(index)
    assert of(pick(index, slice(0, 1))) == of(index)[:1]
    assert of(pick(index, slice(None))) == of(index)


def test_flip_mirrors_about_half_of_the_images_whole():
    x = torch.rand(200, 3, 5, 4)
    out = move(x, draw_moves(200, replace(PLAIN, flip=True), torch.Generator().manual_seed(0)), 0)
    mirrored = [torch.equal(o, i.flip(2)) for o, i in zip(out, x, strict=True)]
    assert all(m or torch.equal(o, i) for m, o, i in zip(mirrored, out, x, strict=True))
    assert 70 < sum(mirrored) < 130


def test_shift_moves_each_image_whole_and_fills_with_zeros():
    x = torch.rand(300, 3, 5, 4) + 1
    out = move(x, draw_moves(300, replace(PLAIN, shift=2), torch.Generator().manual_seed(0)), 2)
    padded = F.pad(x, [2, 2, 2, 2])
    seen = set()
    for o, p in zip(out, padded, strict=True):
        offsets = [(dy, dx) for dy in range(5) for dx in range(5) if torch.equal(o, p[:, dy : dy + 5, dx : dx + 4])]
        assert len(offsets) == 1
        seen.update(offsets)
    assert len(seen) == 25


def test_without_augmentation_nothing_is_changed():
    x = torch.rand(3, 3, 5, 4)
    assert move(x, draw_moves(3, PLAIN, torch.Generator()), 0) is x


def test_no_batch_is_of_one_image():
    order = list(batches(17, PLAIN, torch.Generator().manual_seed(0)))
    assert [len(of(index)) for index in order] == [8, 9]
    assert len(list(batches(1, PLAIN, torch.Generator().manual_seed(0)))) == 1
