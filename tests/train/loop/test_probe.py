"""The images of a probe, what counts as another answer to them, and what answering leaves as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from clf_train import read_source
from clf_train.data.assembly import assemble
from clf_train.data.normalisation import Normalisation
from clf_train.errors import RunError
from clf_train.loop import probe

CPU = torch.device("cpu")
AS_IS = Normalisation((0.0,) * 3, (1.0,) * 3)


def test_images_are_the_same_for_equal_data_and_seed_only():
    digits = read_source("digits")
    images = probe.choose_images(digits, 0)
    assert (images.dtype, images.shape) == (np.uint8, (33, 3, 32, 32))
    np.testing.assert_array_equal(images, probe.choose_images(read_source("digits"), 0))
    assert not np.array_equal(images, probe.choose_images(digits, 1))


def test_images_are_real_dark_bright_flat_and_noise():
    digits = read_source("digits")
    images = probe.choose_images(digits, 0)
    there = {image.tobytes() for image in digits.train.images}
    real = [image.tobytes() in there for image in images]
    assert sum(real) == 13
    assert images[1].max() == 0
    assert images[2].min() == 255
    dark, bright = images[~np.array(real)].max(axis=(1, 2, 3)) <= 32, images[~np.array(real)].min(axis=(1, 2, 3)) >= 223
    assert (dark.sum(), bright.sum()) == (7, 7)


def test_floats_stay_within_their_range(good_parts):
    images = np.random.default_rng(0).uniform(-1, 1, (12, 3, 8, 6)).astype(np.float32)
    dataset = assemble("source", good_parts(images))
    chosen = probe.choose_images(dataset, 0)
    assert chosen.dtype == np.float32
    assert chosen.min() == -1
    assert chosen.max() == 1


def test_of_large_images_there_are_few(good_parts, monkeypatch):
    dataset = assemble("source", good_parts())
    monkeypatch.setattr(probe, "_MOST_BYTES", 5 * dataset.train.images[0].nbytes)
    assert len(probe.choose_images(dataset, 0)) == 5
    monkeypatch.setattr(probe, "_MOST_BYTES", 1)
    assert len(probe.choose_images(dataset, 0)) == 3


def test_rounding_is_no_difference_and_more_is_one():
    scores = np.array([[1000.0, -3, 0], [0.5, 0.25, np.nan], [np.inf, 0, 1]], np.float32)
    assert probe.differing(scores, scores) is None
    assert probe.differing(scores, scores + np.float32(5e-5)) is None
    moved = scores.copy()
    moved[0, 1] += 0.05  # small beside the largest score of the image
    assert probe.differing(scores, moved) is None
    moved[1, 1] += 1
    assert (
        probe.differing(scores, moved) == "1 of 3 images of the probe get other scores, by up to 1, and 0 another class"
    )
    moved = scores.copy()
    moved[2] = np.nan
    assert probe.differing(scores, moved).startswith("1 of 3")
    assert probe.differing(scores, scores[:, :2]) == "2 scores per image instead of 3"


class Restless(nn.Module):
    """Changes in evaluation what it should not: a buffer, an attribute, and the stream of random numbers."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(12, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.seen += len(x)
        return self.fc(x.flatten(1)) + torch.rand(3)


def test_answering_leaves_everything_as_it_was():
    net = Restless()
    images = np.zeros((5, 3, 2, 2), np.float32)
    before = torch.get_rng_state()
    first = probe.answer(net, images, AS_IS, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert (net.calls, float(net.seen), net.training) == (0, 0, True)
    np.testing.assert_array_equal(probe.answer(net, images, AS_IS, CPU), first)
    assert not np.array_equal(probe.answer(net, images, AS_IS, CPU, draw=1), first)


def test_a_probe_comes_back_from_its_file():
    made = probe.Probe(np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2), np.ones((2, 3), np.float32))
    read = probe.unpack(probe.pack(made), "probe")
    np.testing.assert_array_equal(read.images, made.images)
    np.testing.assert_array_equal(read.scores, made.scores)
    for data in (b"", b"x" * 100, probe.pack(replace(made))[:-3]):
        with pytest.raises(RunError, match="probe: damaged"):
            probe.unpack(data, "probe")
