"""Several processes: what each takes of a batch, and two real ones that train together."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clf_train import read_run
from clf_train.errors import ProcessLost
from clf_train.loop.distributed import ALONE, World, explaining_process_loss


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_the_parts_of_a_batch_are_all_of_it_and_their_mean_is_its_mean(size):
    batch = np.random.default_rng(0).random(size)
    for processes in (1, 2, 3):
        parts = [World(rank, processes).part_of(size) for rank in range(processes)]
        taken = [batch[part] for part, weight in parts if weight]
        assert sorted(np.concatenate(taken)) == sorted(batch)
        assert all(len(batch[part]) for part, _ in parts)
        mean = sum(batch[part].mean() * weight for part, weight in parts) / processes
        assert mean == pytest.approx(batch.mean())


def test_alone_nothing_is_told_to_anyone():
    assert ALONE.writes
    assert ALONE.sum((1, True)) == (1, 1)
    assert ALONE.broadcast_bytes(b"x") == b"x"
    net = torch.nn.Linear(2, 2)
    assert ALONE.synchronise(net, torch.device("cpu")) is net


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    file = tmp_path_factory.mktemp("source") / "images.npz"
    rng = np.random.default_rng(0)
    labels = np.arange(501) % 3  # an odd number: the last batch is shared unequally
    images = rng.integers(0, 200, (501, 3, 16, 16), dtype=np.uint8)
    images[np.arange(501), labels] += 55
    np.savez(file, images=images, labels=labels)
    return file


@pytest.fixture
def start_ranks(start_training):
    """Start `clf-train ARGUMENTS` once for each rank, with the variables that torchrun sets."""

    def begin(*arguments, cwd, processes=2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        numbers = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
        return [start_training(*arguments, cwd=cwd, **shared, **own) for own in numbers]

    return begin


def test_two_processes_train_what_one_does(source, start_ranks, tmp_path):
    shared = ("--data", source, "--model", "simple,conv", "--epochs", 2, "--flip", "on", "--shift", 1)
    for processes in (1, 2):
        started = start_ranks(*shared, "--out", f"with-{processes}", cwd=tmp_path, processes=processes)
        (code, out, err), *others = [each.ended() for each in started]
        assert code == 0, err
        assert out.count("run folder:") == 1
        assert err.count("training conv with recipe") == 1
        assert others == [(0, "", "")] * (processes - 1)
    one, two = (load_file(tmp_path / f"with-{n}" / "simple" / "weights.safetensors") for n in (1, 2))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-5, rtol=1e-3)
    alone, together = (read_run(tmp_path / f"with-{n}" / "conv") for n in (1, 2))
    assert (alone.processes, together.processes) == (1, 2)
    assert together.test.accuracy == pytest.approx(alone.test.accuracy, abs=0.1)  # batch statistics differ
    assert sorted(p.name for p in tmp_path.iterdir()) == ["with-1", "with-2"]


def torchrun(*arguments, cwd):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "clf_train"]
    command = [sys.executable, *launch, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=cwd, env=environment, stderr=subprocess.PIPE, text=True)


def ranks(launcher):
    """The process of each rank, by the environment that torchrun gave it."""
    found = {}
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True, text=True)
    for pid in map(int, children.stdout.split()):
        with open(f"/proc/{pid}/environ", "rb") as stream:
            variables = dict(v.split(b"=", 1) for v in stream.read().split(b"\0") if b"=" in v)
        if b"RANK" in variables:
            found[int(variables[b"RANK"])] = pid
    return found


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="finds the processes in /proc")
def test_a_killed_process_ends_all_with_a_line_and_the_training_goes_on(source, start_training, start_ranks, tmp_path):
    launcher = torchrun("--data", source, "--model", "conv", "--epochs", 40, "--out", "run", "--quiet", cwd=tmp_path)
    state = tmp_path / "run.partial" / "state.pt"
    while not state.exists():
        assert launcher.poll() is None
        time.sleep(0.02)
    os.kill(ranks(launcher)[1], signal.SIGKILL)
    _, err = launcher.communicate(timeout=300)
    assert launcher.returncode != 0
    ours = [line for line in err.splitlines() if line.startswith("clf-train: ")]
    assert len(ours) == 1, err
    assert "another process of this training was lost" in ours[0]
    assert ours[0].endswith("resume with: torchrun --nproc-per-node=2 -m clf_train --resume run")
    alone = start_training("--resume", "run", "--quiet", cwd=tmp_path).ended()
    assert (alone[0], alone[2]) == (2, "clf-train: the training had 2 processes, not 1; start as many with torchrun\n")
    for started in start_ranks("--resume", "run", "--quiet", cwd=tmp_path):
        code, _, err = started.ended()
        assert code == 0, err
    assert read_run(tmp_path / "run").processes == 2


@pytest.mark.parametrize("launched", [False, True])
def test_one_of_several_processes_ends_without_taking_the_interpreter_down(launched):
    """Where a thread of gloo still holds a tensor that would abort it; what it printed is out."""
    code = (
        "import atexit, sys; atexit.register(print, 'taken down'); sys.argv[1:] = ['--version']\n"
        "from clf_train.commands.train import main; main()"
    )
    environment = {k: v for k, v in os.environ.items() if k != "RANK"} | ({"RANK": "0"} if launched else {})
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("clf-edge ")
    assert ("taken down" in ended.stdout) is not launched


def test_a_pytorch_without_libuv_says_what_to_set(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = "use_libuv was requested but PyTorch was built without libuv support, run with USE_LIBUV=0 to disable it."
    with pytest.raises(ProcessLost, match="set USE_LIBUV=0"), explaining_process_loss():
        raise torch.distributed.DistStoreError(said)
