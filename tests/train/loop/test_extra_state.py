"""What a net holds outside of its state_dict, taken and put back."""

import pytest
import torch
from torch import nn

from clf_train.loop.extra_state import changed, outside_state, restore


class Holding(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.BatchNorm1d(2)
        self.register_buffer("gain", torch.ones(2), persistent=False)
        self.register_buffer("kept", torch.ones(2))
        self._steps = 0
        self.seen = [1, {"a": (2.5, None)}]
        self.last = None
        self.other = object()
        self.views = [self.inner.weight]


def test_it_is_what_no_state_dict_holds():
    net = Holding()
    found = outside_state(net)
    assert {"gain", "_steps", "seen", "last", "inner.eps", "inner.momentum"} <= found.keys()
    assert not {"kept", "inner.weight", "inner.running_mean", "other", "views", "training"} & found.keys()


def test_it_is_a_copy_and_tells_what_changed():
    net = Holding()
    before = outside_state(net)
    assert changed(before, outside_state(net)) == {}
    net.gain += 1
    net.seen[1]["b"] = 3
    net.last = torch.ones(1, requires_grad=True) * 2
    after = changed(before, outside_state(net))
    assert after.keys() == {"gain", "seen", "last"}
    assert before["gain"].tolist() == [1, 1]


def test_it_goes_into_a_new_net():
    net = Holding()
    net.gain *= 3
    net._steps = 7
    net.inner.note = "new"
    fresh = Holding()
    kept = changed(outside_state(fresh), outside_state(net))
    restore(fresh, kept)
    assert changed(outside_state(net), outside_state(fresh)) == {}
    assert (fresh._steps, fresh.inner.note, fresh.gain.tolist()) == (7, "new", [3, 3])
    assert "gain" not in fresh.state_dict()
    with pytest.raises(AttributeError):
        restore(nn.Linear(1, 1), {"inner.note": 1})


def test_a_large_tensor_is_left_out():
    net = nn.Identity()
    net.cache = torch.zeros((1 << 22) + 1)
    assert "cache" not in outside_state(net)


def test_what_modules_share_stays_shared():
    net = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    net[0].schedule = net[1].schedule = {"p": 0.1, "steps": [1]}
    net[0].view = net[1].weight.t()
    kept = outside_state(net)
    net[0].schedule["p"] = 0.5
    restore(net, kept)
    assert net[0].schedule is net[1].schedule
    assert net[1].schedule == {"p": 0.1, "steps": [1]}
    assert net[0].view.data_ptr() == net[1].weight.data_ptr()
    net[0].grid = torch.ones(1).expand(3)
    restore(net, {"0.grid": torch.zeros(3)})
    assert net[0].grid.tolist() == [0, 0, 0]
