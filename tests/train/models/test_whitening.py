from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation
from clf_train.errors import RecipeError
from clf_train.loop import constant_half
from clf_train.loop import fit as loop
from clf_train.loop.fit import Watcher, fit
from clf_train.models.conv import whitened
from clf_train.models.recipe import Recipe
from clf_train.models.registry import build_model, find_architecture
from clf_train.models.whitening import principal_patches, whiten

CPU = torch.device("cpu")
AS_IS = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
WHITENING = Recipe("whitening", 2, 8, 0.05, momentum=0.9, whiten=True, channels_last=True)
TRICKS = find_architecture("conv").tricks


@pytest.fixture(autouse=True)
def same_weights_every_time():
    torch.manual_seed(0)


def smooth(count: int = 60, size: int = 16) -> torch.Tensor:
    """Images whose neighbouring pixels are alike, as those of photographs are."""
    return F.interpolate(torch.randn(count, 3, 6, 6), size=(size, size), mode="bilinear")


def labelled(count: int = 60) -> Split:
    labels = np.arange(count) % 3
    images = smooth(count).numpy()
    images[np.arange(count), labels] += 1
    return Split(images, labels)


def test_outputs_vary_alike_and_independently():
    sample = smooth()
    layer = nn.Conv2d(3, 16, 4)
    patches = F.unfold(sample, 4, stride=4).transpose(1, 2).flatten(0, 1)
    outputs = patches @ principal_patches(layer, sample)[:4].T
    torch.testing.assert_close(torch.cov(outputs.T), torch.eye(4), atol=0.05, rtol=0)


@pytest.mark.parametrize(("filters", "channels"), [(16, 3), (7, 3), (16, 1)])
def test_filters_are_the_strongest_components_and_their_negatives(filters, channels):
    layer, norm = nn.Conv2d(channels, filters, 2), nn.BatchNorm2d(filters)
    before = layer.weight.detach().clone()
    sample = smooth()[:, :channels]
    whiten(layer, norm, sample)
    pairs = min(filters // 2, 4 * channels)
    expected = principal_patches(layer, sample)[:pairs].view(pairs, channels, 2, 2)
    assert torch.equal(layer.weight[0 : 2 * pairs : 2], expected)
    assert torch.equal(layer.weight[1 : 2 * pairs : 2], -expected)
    assert torch.equal(layer.weight[2 * pairs :], before[2 * pairs :])
    outputs = norm.eval()(layer(sample))
    torch.testing.assert_close(outputs.mean((0, 2, 3)), torch.zeros(filters), atol=1e-4, rtol=0)
    torch.testing.assert_close(outputs.var((0, 2, 3)), torch.ones(filters), atol=0.01, rtol=0)


def test_images_of_one_colour_give_finite_filters():
    layer, norm = nn.Conv2d(3, 16, 4), nn.BatchNorm2d(16)
    whiten(layer, norm, torch.ones(8, 3, 16, 16))
    assert layer.weight.isfinite().all()
    assert norm.eval()(layer(torch.ones(1, 3, 16, 16))).isfinite().all()


def test_the_first_layer_is_constant_in_training_and_trainable_afterwards():
    net, seen = build_model("conv", (3, 16, 16), 3), []
    watcher = Watcher(epoch=lambda _: seen.append([v.clone() for v in (*net.conv1.parameters(), *net.norm1.buffers())]))
    before = net.fc1.weight.detach().clone()
    fit(net, labelled(), WHITENING, AS_IS, CPU, 0, watcher, np.arange(0, 60, 10), tricks=TRICKS)
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    assert not torch.equal(net.fc1.weight, before)
    assert all(p.requires_grad for p in net.parameters())
    assert net.norm1.training


def test_halves_are_the_net():
    net, x = build_model("conv", (3, 16, 16), 3), smooth(5)
    halves = whitened(net, smooth(), WHITENING).halves
    assert halves is not None
    copy = build_model("conv", (3, 16, 16), 3)
    copy.load_state_dict(net.state_dict())
    copy.norm1.eval()
    expected = copy(x)
    torch.testing.assert_close(halves.trained(halves.constant(x).detach()), expected)


@pytest.mark.parametrize(
    ("model", "recipe"),
    [("conv", WHITENING), ("conv", replace(WHITENING, channels_last=False)),
     ("simple", replace(WHITENING, whiten=False, channels_last=False, low_frequencies=4))],
)  # fmt: skip
def test_what_is_constant_is_computed_once_and_changes_nothing(model, recipe, monkeypatch):
    nets, prepared = [], []
    prepare = loop.prepare
    monkeypatch.setattr(loop, "prepare", lambda *given: prepared.append(prepare(*given)) or prepared[-1])
    for most in (constant_half._MOST_BYTES, 1):
        monkeypatch.setattr(constant_half, "_MOST_BYTES", most)
        torch.manual_seed(0)
        net = build_model(model, (3, 16, 16), 3)
        fit(
            net,
            labelled(),
            recipe,
            AS_IS,
            CPU,
            0,
            held_out=np.arange(0, 60, 10),
            tricks=find_architecture(model).tricks,
        )
        nets.append(net)
    assert prepared[0] is not None
    assert prepared[1] is None
    for ours, theirs in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("changes", [{"flip": True}, {"shift": 1}])
def test_images_that_are_augmented_go_through_the_whole_net(changes, monkeypatch):
    prepare, prepared = loop.prepare, []
    monkeypatch.setattr(loop, "prepare", lambda *given: prepared.append(prepare(*given)) or prepared[-1])
    net = build_model("conv", (3, 16, 16), 3)
    fit(net, labelled(), replace(WHITENING, epochs=1, **changes), AS_IS, CPU, 0, tricks=TRICKS)
    assert prepared == [None]


def test_a_model_without_the_trick_is_refused():
    net = build_model("simple", (3, 16, 16), 3)
    with pytest.raises(RecipeError, match="whiten must be 0 for this model: it has no such trick"):
        fit(net, labelled(), WHITENING, AS_IS, CPU, 0, tricks=find_architecture("simple").tricks)
