from pathlib import Path

import numpy as np
import pytest
import torch

from clf_train.loop.optimizers import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(4, 4), (16, 48), (48, 16), (256, 300), (1, 5)])
def test_the_result_has_the_same_directions_and_singular_values_of_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(orthogonalise(matrix), u @ v, atol=0.02, rtol=0)


def test_zeros_stay_zeros_and_a_lost_direction_is_not_blown_up():
    assert torch.equal(orthogonalise(torch.zeros(3, 5)), torch.zeros(3, 5))
    matrix = torch.diag(torch.tensor([1.0, 1e-9]))
    assert orthogonalise(matrix).abs()[1, 1] < 1e-3


def test_a_convolution_moves_by_the_learning_rate_whatever_the_size_of_its_gradient():
    for scale in (1e-4, 1e4):
        weight = torch.zeros(16, 3, 4, 4, requires_grad=True)
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * scale
        Muon([weight], lr=0.1, momentum=0.9, weight_decay=0).step()
        step = torch.linalg.svdvals(weight.detach().flatten(1))
        torch.testing.assert_close(step, torch.full((16,), 0.1 * (16 / 48) ** 0.5), rtol=1e-3, atol=0)


def test_filters_that_no_longer_learn_do_not_lose_the_others():
    """The momentum of resnet8's first layer in epoch 22 of `best`: rows of 0, 1e-14 and 1e-2."""
    momentum = torch.from_numpy(np.load(Path(__file__).with_name("dying_filters.npy")))
    step = torch.linalg.svdvals(orthogonalise(momentum))
    torch.testing.assert_close(step[:11], torch.ones(11), atol=0.005, rtol=0)
    assert (step[12:] < 1e-6).all()


def test_what_is_no_matrix_follows_its_gradient_with_momentum():
    bias = torch.zeros(2, requires_grad=True)
    optimizer = Muon([bias], lr=0.1, momentum=0.5, weight_decay=0.3)
    bias.grad = torch.tensor([1.0, -2.0])
    optimizer.step()
    torch.testing.assert_close(bias.detach(), torch.tensor([-0.015, 0.03]))
    optimizer.step()
    torch.testing.assert_close(bias.detach(), torch.tensor([-0.015 - 0.0175, 0.03 + 0.035]))


def test_what_is_no_matrix_may_learn_faster():
    slow, fast = (torch.zeros(2, requires_grad=True) for _ in range(2))
    for bias, share in ((slow, 0.1), (fast, 1.0)):
        bias.grad = torch.tensor([1.0, -2.0])
        Muon([bias], 0.1, 0.5, 0.3, share).step()
    torch.testing.assert_close(fast.detach(), 10 * slow.detach())


def test_its_state_can_be_saved_and_goes_on_alike():
    def walk(optimizer, weight, steps):
        for i in steps:
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(i))
            optimizer.step()

    straight, stopped = (torch.zeros(4, 6, requires_grad=True) for _ in range(2))
    first = Muon([straight], 0.1, 0.9, 0.1)
    walk(first, straight, range(6))
    second = Muon([stopped], 0.1, 0.9, 0.1)
    walk(second, stopped, range(3))
    third = Muon([stopped], 0.5, 0.5, 0.5)
    third.load_state_dict(second.state_dict())
    walk(third, stopped, range(3, 6))
    assert torch.equal(straight, stopped)
