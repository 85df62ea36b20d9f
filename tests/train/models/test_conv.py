"""Batch norm, pooling and ReLU as one step: the values and gradients of the three layers."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clf_train.models.conv import _maximum, norm_pool_relu

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def a_norm(seed: int, *, negative: bool = False) -> nn.BatchNorm2d:
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(5)
    nn.init.uniform_(norm.weight, 0.3, 2)
    nn.init.normal_(norm.bias)
    if negative:
        norm.weight.data[2] = -1
    return norm


def images(seed: int, layout: torch.memory_format) -> Tensor:
    torch.manual_seed(seed)
    return (3 * torch.randn(7, 5, 9, 12) + 2).contiguous(memory_format=layout).requires_grad_()


def plain(x: Tensor, norm: nn.Module) -> Tensor:
    return F.max_pool2d(F.relu(norm(x)), 2)


def compare(norm: nn.BatchNorm2d, layout: torch.memory_format) -> None:
    """Against the three layers in float64."""
    exact = copy.deepcopy(norm).double()
    x = images(1, layout)
    x64 = x.detach().double().requires_grad_()
    out, wanted = norm_pool_relu(x, norm), plain(x64, exact)
    gradient = torch.randn(out.shape)
    out.backward(gradient)
    wanted.backward(gradient.double())
    assert out.shape == (7, 5, 4, 6)
    torch.testing.assert_close(out.double(), wanted, rtol=1e-5, atol=1e-5)
    assert x.grad is not None
    assert x64.grad is not None
    torch.testing.assert_close(x.grad.double(), x64.grad, rtol=1e-4, atol=1e-5)
    for p, q in zip(norm.parameters(), exact.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        torch.testing.assert_close(p.grad.double(), q.grad, rtol=1e-4, atol=1e-4)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(value.double(), exact.state_dict()[name].double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("negative", [False, True])
def test_values_gradients_and_running_statistics_are_those_of_the_layers(
    layout: torch.memory_format, negative: bool
) -> None:
    compare(a_norm(0, negative=negative), layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_frozen_norm_uses_and_keeps_its_running_statistics(layout: torch.memory_format) -> None:
    norm = a_norm(0)
    for _ in range(30):
        norm(images(2, layout))
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    compare(norm, layout)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_nothing_before_it_needs_a_gradient() -> None:
    """As in the first layer, once frozen, with a norm that still learns."""
    norm, x = a_norm(0), images(3, torch.channels_last).detach()
    norm_pool_relu(x, norm).sum().backward()
    exact = copy.deepcopy(norm)
    exact.zero_grad()
    plain(x, exact).sum().backward()
    assert norm.weight.grad is not None
    assert exact.weight.grad is not None
    torch.testing.assert_close(norm.weight.grad, exact.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_maximum_is_that_of_the_pooling(layout):
    x = images(1, layout).detach()
    assert torch.equal(_maximum(x), F.max_pool2d(x, 2))
