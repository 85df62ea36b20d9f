import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from clf_train.errors import DataError, FactoryError
from clf_train.models.conv import ConvNN
from clf_train.models.own import softmax_hint
from clf_train.models.registry import build_model, count_parameters
from clf_train.models.simple import SimpleNN


@pytest.mark.parametrize(("name", "parameters"), [("simple", 828_490), ("conv", 23_998), ("resnet8", 77_946)])
def test_parameters_for_3x32x32_and_ten_classes(name, parameters):
    assert count_parameters(build_model(name, (3, 32, 32), 10)) == parameters


@pytest.fixture(scope="module")
def users_own():
    """The loops that the user brought, which the benchmark runs as they came."""
    file = Path(__file__).parents[3] / "benchmarks" / "reference_loops.py"
    spec = importlib.util.spec_from_file_location("reference_loops", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("training", [True, False])
def test_conv_computes_what_the_user_s_conv_does(users_own, training):
    ours, theirs = ConvNN((3, 32, 32), 10).train(training), users_own.conv(3).train(training)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


def test_simple_computes_what_the_user_s_simple_does(users_own):
    net, theirs = SimpleNN((3, 32, 32), 10), users_own.Simple(3072)
    theirs.load_state_dict(net.state_dict())
    x = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(net(x), theirs(x.flatten(1)), rtol=0, atol=0)
    torch.testing.assert_close(net(x).exp().sum(1), torch.ones(5))
    assert [net.fc1.out_features, net.fc2.out_features, net.fc3.out_features] == [256, 128, 64]


@pytest.mark.parametrize("name", ["simple", "conv", "resnet8"])
@pytest.mark.parametrize(
    ("shape", "classes"), [((1, 28, 28), 3), ((3, 48, 40), 7), ((4, 13, 13), 2), ((3, 33, 64), 100)]
)
def test_other_sizes_give_other_widths_not_an_error(name, shape, classes):
    assert build_model(name, shape, classes)(torch.rand(2, *shape)).shape == (2, classes)


@pytest.mark.parametrize("shape", [(3, 12, 32), (3, 32, 12), (1, 8, 8)])
def test_images_that_leave_conv_nothing_are_refused(shape):
    with pytest.raises(DataError, match="13x13 or more"):
        build_model("conv", shape, 10)


BAD = """
import torch
from torch import nn
number = 3
def fails(image_shape, classes): raise ValueError("no\\nway")
def no_net(image_shape, classes): return 3
def no_parameters(image_shape, classes): return nn.Flatten()
def wrong_shape(image_shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(768, classes + 1))
def wrong_size(image_shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(5, classes))
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_nets:missing", "own_nets has no function or class 'missing'"),
        ("own_nets:number", "own_nets has no function or class 'number'"),
        ("own_nets:fails", r"cannot be built for images of \(3, 16, 16\): ValueError: no way"),
        ("own_nets:no_net", r"returned a int, expected a torch\.nn\.Module"),
        ("own_nets:no_parameters", "has no parameters to train"),
        ("own_nets:wrong_shape", r"returns float32 \[2, 4\] for 2 images, expected logits, float32 \[2, 3\]"),
        ("own_nets:wrong_size", r"fails on images of \[2, 3, 16, 16\]: RuntimeError"),
        ("nowhere.nets:tiny", r"nowhere\.nets cannot be imported: ModuleNotFoundError"),
        (":tiny", "cannot be imported"),
    ],
)
def test_a_user_s_own_model_that_is_wrong_is_one_clear_error(tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    (tmp_path / "own_nets.py").write_text(BAD)
    with pytest.raises(FactoryError, match=says) as error:
        build_model(name, (3, 16, 16), 3)
    assert "\n" not in str(error.value)


LAZY = """
from torch import nn
class Net(nn.Module):
    def __init__(self, image_shape, classes):
        super().__init__()
        from early_neighbour import layer
        self.layer = layer(image_shape[0], classes)
    def forward(self, x):
        import late_neighbour
        return self.layer(late_neighbour.pool(x))
"""


def test_the_current_folder_is_searched_last_and_a_net_finds_its_neighbours_late(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    (tmp_path / "lazy_nets.py").write_text(LAZY)
    (tmp_path / "early_neighbour.py").write_text("from torch.nn import Linear as layer")
    (tmp_path / "late_neighbour.py").write_text("def pool(x): return x.mean((2, 3))")
    (tmp_path / "this.py").write_text("raise SystemExit('the standard library has this one')")
    net = build_model("lazy_nets:Net", (3, 8, 8), 3)
    assert net(torch.zeros(2, 3, 8, 8)).shape == (2, 3)
    assert sys.path.index(str(tmp_path)) == len(sys.path) - 1
    assert importlib.util.find_spec("this").origin != str(tmp_path / "this.py")


@pytest.mark.parametrize("name", ["random", "numpy", "this"])
def test_a_file_of_the_name_of_an_installed_module_is_not_taken_for_it(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    (tmp_path / f"{name}.py").write_text("tiny = 1")
    with pytest.raises(FactoryError, match=rf"{name}\.py has the name of an installed module; rename it"):
        build_model(f"{name}:tiny", (3, 8, 8), 3)


class Ends(nn.Module):
    def __init__(self, end):
        super().__init__()
        self.fc, self.end = nn.Linear(48, 3), end

    def forward(self, x):
        return self.end(self.fc(x.flatten(1)))


@pytest.mark.parametrize(
    ("end", "hinted"),
    [(lambda x: x.softmax(1), True), (lambda x: x, False), (lambda x: x.log_softmax(1), False), (torch.sigmoid, False)],
)
def test_a_net_that_ends_in_a_softmax_is_noticed(end, hinted):
    net = Ends(end).train()
    before = torch.random.get_rng_state()
    assert (softmax_hint(net, (3, 4, 4)) is not None) is hinted
    assert net.training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_error_in_a_users_net_names_its_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("its_nets.py").write_text(
        "from torch import nn\n"
        "class Deep(nn.Module):\n"
        "    def __init__(self, shape, classes):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(5, classes)\n"
        "    def forward(self, x):\n"
        "        return self.inner(x)\n"
        "    def inner(self, x):\n"
        "        return self.fc(x)\n"
        "def typed(shape, classes):\n"
        "    return nn.Linear('a', classes)\n"
    )
    with pytest.raises(FactoryError, match=r"fails on images .*RuntimeError: .* \(its_nets\.py, line 9\)$"):
        build_model("its_nets:Deep", (3, 4, 4), 3)
    with pytest.raises(FactoryError, match=r"cannot be built .*TypeError: .* \(its_nets\.py, line 11\)$"):
        build_model("its_nets:typed", (3, 4, 4), 3)


def test_scores_in_float64_are_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wide_nets.py").write_text(
        "from torch import nn\n"
        "class Wide(nn.Module):\n"
        "    def __init__(self, shape, classes):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(48, classes).double()\n"
        "    def forward(self, x):\n"
        "        return self.fc(x.flatten(1).double())\n"
    )
    with pytest.raises(FactoryError, match=r"returns float64 \[2, 3\] for 2 images, expected logits, float32"):
        build_model("wide_nets:Wide", (3, 4, 4), 3)
