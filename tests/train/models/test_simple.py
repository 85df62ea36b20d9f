from dataclasses import replace

import pytest
import torch
from torch import nn

from clf_train.errors import RecipeError
from clf_train.models.registry import build_model, find_recipe
from clf_train.models.simple import cosines, low_frequencies


def narrow(net, shape, k):
    return low_frequencies(
        net, torch.zeros(1, *shape), replace(find_recipe("fast", "simple"), low_frequencies=k)
    ).finish


@pytest.mark.parametrize(("n", "k"), [(32, 8), (8, 8), (5, 1)])
def test_the_waves_are_orthonormal_and_of_rising_frequency(n, k):
    waves = cosines(n, k)
    torch.testing.assert_close(waves.T @ waves, torch.eye(k), atol=1e-5, rtol=0)
    changes = (waves[1:].sign() != waves[:-1].sign()).sum(0)
    assert changes.tolist() == list(range(k))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 12), (3, 4, 4)])
def test_answers_are_the_same_before_and_after_it_is_one_on_pixels_again(shape):
    torch.manual_seed(0)
    net = build_model("simple", shape, 3)
    weight = net.fc1.weight
    to_pixels = narrow(net, shape, 6)
    assert net.fc1.weight.shape == (256, shape[0] * min(6, shape[1]) * min(6, shape[2]))
    x = torch.rand(5, *shape)
    net(x).square().sum().backward()
    with torch.no_grad():
        net.fc1.weight -= 0.1 * net.fc1.weight.grad
        expected = net(x)
        to_pixels()
        torch.testing.assert_close(net(x), expected)
    assert net.fc1.weight is weight
    assert weight.shape == (256, shape[0] * shape[1] * shape[2])


def test_detail_above_the_frequencies_is_not_seen():
    net = build_model("simple", (3, 16, 16), 3)
    narrow(net, (3, 16, 16), 4)
    x = torch.rand(2, 3, 16, 16)
    board = torch.outer(cosines(16, 16)[:, 9], cosines(16, 16)[:, 7])
    torch.testing.assert_close(net(x + board), net(x))
    assert not torch.allclose(net(x + 1), net(x))


@pytest.mark.parametrize("net", [build_model("conv", (3, 16, 16), 3), nn.Linear(16 * 16, 3), nn.Flatten()])
def test_a_first_layer_that_is_not_linear_on_all_pixels_is_refused(net):
    with pytest.raises(RecipeError, match="low frequencies must be 0 for this model"):
        narrow(net, (3, 16, 16), 4)
