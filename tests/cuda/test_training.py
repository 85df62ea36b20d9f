"""Training on CUDA: the same bits each time, float32 in full, bfloat16, NCCL, and a GPU that is missing."""

import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import distributed, nn

from clf_train import find_recipe, read_run
from clf_train.commands.train import main
from clf_train.data.normalisation import Normalisation
from clf_train.errors import RecipeError, Stopped, TrainError
from clf_train.loop.device import computes_bfloat16
from clf_train.loop.distributed import World
from clf_train.loop.exact import exact
from clf_train.loop.fit import Watcher, fit
from clf_train.models.recipe import FAST, change
from clf_train.runs.run import load_net
from clf_train.training import resume, train

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.usefixtures("no_drawing"),
    pytest.mark.filterwarnings("default", "error:.*deterministic"),  # NCCL warns of this and that
]
PLAIN = replace(FAST, least_steps=0, validation_share=0.0)  # without the tricks of a model
SCALE = Normalisation((128.0,) * 3, (64.0,) * 3)


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("model", ["simple", "conv", "resnet8"])
def test_a_net_learns_and_is_the_same_on_the_cpu(trained, device, model):
    folder, run = trained(model)
    assert run.device.startswith(device)
    assert run.test.accuracy > 0.8
    load_net(folder, read_run(folder))  # holds the scores of the probe, which were computed on the device


@pytest.mark.parametrize("model", ["simple", "conv", "resnet8"])
def test_a_seed_gives_the_same_bits_and_another_one_others(trained, model):
    first, again, other = (trained(model, epochs=1, seed=seed)[0] for seed in (3, 3, 4))
    assert weights(first) == weights(again)
    assert weights(first) != weights(other)


def stopping_after(looks):
    """A watcher that stops a training when it has looked so many times."""
    left = iter(range(looks))
    return Watcher(stopping=lambda: next(left, None) is None)


@pytest.mark.parametrize(
    ("model", "optimizer", "looks"),
    [("simple", "muon", 5), ("conv", "muon", 18), ("conv", "adamw", 5), ("resnet8", "sgd", 5)],
)
def test_a_stopped_training_is_resumed_to_the_last_bit(digits, device, tmp_path, model, optimizer, looks):
    recipe = change(find_recipe("fast", model), {"epochs": 2, "optimizer": optimizer, "learning_rate": 0.01})
    train(digits, {model: recipe}, tmp_path / "whole", device=device)
    with pytest.raises(Stopped):
        train(digits, {model: recipe}, tmp_path / "run", device=device, on_start=lambda *_: stopping_after(looks))
    assert (tmp_path / "run.partial" / "state.pt").exists()
    [run] = resume(digits, tmp_path / "run")
    assert run.device.startswith(device)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


class Dropping(nn.Sequential):
    """A net that draws random numbers on the device, whose generator a state holds too."""

    def __init__(self, classes):
        super().__init__(nn.Flatten(), nn.LazyLinear(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, classes))


def fitted(digits, device, recipe, **options):
    torch.manual_seed(1)
    net = Dropping(len(digits.names))
    net(torch.zeros(1, *digits.image_shape))
    net.to(device)
    with exact(device):
        fit(net, digits.train, recipe, SCALE, torch.device(device), 5, **options)
    return torch.cat([p.detach().flatten().cpu() for p in net.parameters()])


def test_random_numbers_of_the_device_are_resumed(digits, device, tmp_path):
    recipe = replace(PLAIN, epochs=2)
    whole = fitted(digits, device, recipe)
    with pytest.raises(Stopped):
        fitted(digits, device, recipe, state_file=tmp_path / "state.pt", watcher=stopping_after(5))
    assert torch.equal(fitted(digits, device, recipe, state_file=tmp_path / "state.pt"), whole)


def test_bfloat16_learns_and_leaves_float32_weights(digits, device, trained, tmp_path):
    if not computes_bfloat16(device):
        with pytest.raises(RecipeError, match="precision bf16 needs CUDA"):
            trained("conv", precision="bf16")
    else:
        folder, run = trained("conv", precision="bf16")
        assert run.test.accuracy > 0.8
        load_net(folder, read_run(folder))
    recipe = replace(PLAIN, epochs=1)
    narrow, wide = (fitted(digits, device, replace(recipe, precision=name)) for name in ("bf16", "float32"))
    assert (narrow.dtype, bool(narrow.isfinite().all())) == (torch.float32, True)
    assert not torch.equal(narrow, wide)


def test_float32_is_computed_in_full(device):
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=random) for _ in range(2))
    images, kernel = torch.randn(4, 16, 32, 32, generator=random), torch.randn(16, 16, 3, 3, generator=random)
    with exact(device):
        for function, one, two in ((torch.matmul, a, b), (nn.functional.conv2d, images, kernel)):
            found = function(one.to(device), two.to(device)).cpu().double()
            expected = function(one.double(), two.double())
            assert float((found - expected).abs().max() / expected.abs().max()) < 5e-6  # TF32 gives some 1e-3


@pytest.fixture
def world(device):
    """A process group of one, over NCCL on CUDA, as one of two processes sees it that is alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    if device == "cuda":
        torch.cuda.set_device(0)
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, init_method=address, rank=0, world_size=1)
    yield World(0, 2, 0, device)
    distributed.destroy_process_group()


def test_processes_exchange_what_a_training_needs(world):
    assert world.sum((1.5, True)) == (1.5, 1)
    assert world.broadcast((2.5,)) == (2.5,)
    assert world.broadcast_bytes(b"abc") == b"abc"
    assert world.broadcast_bytes(b"") == b""


def test_a_net_is_trained_through_nccl(world, digits, device):
    recipe = replace(PLAIN, epochs=1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(392, 10))
    before = net[0].weight.detach().clone()
    with exact(device):
        history = fit(net.to(device), digits.train, recipe, SCALE, torch.device(device), 0, world=world).history
    assert history[-1].loss < 3
    assert bool(net[0].weight.isfinite().all())
    assert not torch.equal(net[0].weight.cpu(), before)
    assert any(isinstance(part, nn.SyncBatchNorm) for part in net.modules()) == (device == "cuda")


def test_folds_are_trained(digits, device, tmp_path):
    from clf_train import read_source

    undivided = read_source("digits", undivided=True)
    recipe = change(find_recipe("fast", "simple"), {"epochs": 4})
    [run] = train(undivided, {"simple": recipe}, tmp_path / "run", device=device, folds=2)
    assert run.folds.accuracy > 0.5


def test_too_little_memory_is_one_line(digits, device, tmp_path):
    if device == "cpu":
        pytest.skip("the memory of a GPU")
    torch.cuda.empty_cache()
    few = torch.cuda.memory_reserved() + (64 << 20)  # a batch of the first layer takes as many
    torch.cuda.set_per_process_memory_fraction(few / torch.cuda.get_device_properties(0).total_memory)
    recipe = change(find_recipe("fast", "resnet8"), {"batch_size": 1024})
    try:
        with pytest.raises(TrainError, match="not enough GPU memory: choose a smaller --batch-size"):
            train(digits, {"resnet8": recipe}, tmp_path / "run", device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_the_command_trains_on_the_device_and_repeats_itself(command, device, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = command(main, "--model", "simple", "--epochs", 1, "--device", device, "--out", "run")
    assert ended.code == 0, ended.err
    assert f"on {device} (" in ended.err
    ended = command(main, "--like", "run", "--out", "again", "--quiet")
    assert ended.code == 0, ended.err
    assert weights(tmp_path / "run") == weights(tmp_path / "again")


def test_without_a_visible_gpu_cuda_is_refused_and_auto_is_the_cpu(child_environment, device, tmp_path):
    hidden = {**child_environment, "CUDA_VISIBLE_DEVICES": ""}

    def run(*arguments):
        line = [sys.executable, "-m", "clf_train", "--model", "simple", "--epochs", "1", *arguments]
        return subprocess.run(line, env=hidden, cwd=tmp_path, capture_output=True, text=True, timeout=600)

    refused = run("--device", "cuda", "--out", "run")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "CUDA does not work here" in refused.stderr
    assert not (tmp_path / "run").exists()
    taken = run("--device", "auto", "--out", "run", "--quiet")
    assert taken.returncode == 0, taken.stderr
    assert read_run(tmp_path / "run").device.startswith("cpu")


def test_images_are_as_the_cpu_sees_them(digits, device):
    """Normalisation and augmentation on the device give the CPU's images."""
    from clf_train.data.batches import draw_moves, move

    recipe = change(find_recipe("best", "conv"), {"flip": True, "shift": 2})
    moves = draw_moves(64, recipe, torch.Generator().manual_seed(0))
    images = torch.from_numpy(np.ascontiguousarray(digits.train.images[:64]))
    normalise = Normalisation((120.0, 121.0, 122.0), (60.0, 61.0, 62.0))
    here, there = (move(normalise(images.to(place)), moves, 2).cpu() for place in ("cpu", device))
    torch.testing.assert_close(there, here, atol=1e-6, rtol=1e-6)
