"""Real processes, killed and stopped, then gone on with."""

import json
import os
import random
import signal
import time

import numpy as np
import pytest


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    file = tmp_path_factory.mktemp("source") / "images.npz"
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 3
    images = rng.integers(0, 200, (900, 3, 16, 16), dtype=np.uint8)
    images[np.arange(900), labels] += 55
    np.savez(file, images=images, labels=labels)
    return file


def options(source, epochs=4):
    return "--data", source, "--model", "simple,conv", "--epochs", epochs, "--out", "run", "--quiet"


@pytest.fixture(scope="module")
def never_stopped(source, start_training, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    begun = time.monotonic()
    assert start_training(*options(source), cwd=folder).ended()[0] == 0
    return folder / "run", time.monotonic() - begun


def weights(run):
    return [(run / model / "weights.safetensors").read_bytes() for model in ("simple", "conv")]


def test_kills_at_random_instants_do_not_change_a_bit(source, never_stopped, start_training, tmp_path):
    kills = int(os.environ.get("CLF_EDGE_KILLS", "4"))
    seed = random.randrange(1 << 30)
    print(f"instants drawn from seed {seed}")  # shown if the test fails
    instants = random.Random(seed)
    whole, seconds = never_stopped
    done = ends = 0
    while done < kills or not ends:
        stopped = (tmp_path / "run.partial" / "plan.json").exists()
        training = start_training(*(("--resume", "run", "--quiet") if stopped else options(source)), cwd=tmp_path)
        ended = training.ended(instants.uniform(0.1, 0.9) * seconds if done < kills else 300)
        if ended is None:
            training.send(signal.SIGKILL)
            training.ended()
            done += 1
            if not (tmp_path / "run").exists():
                continue
        else:
            assert ended == (0, ended[1], "")
            assert [p.name for p in tmp_path.iterdir()] == ["run"]
            assert sorted(os.listdir(tmp_path / "run")) == sorted(os.listdir(whole))
        assert weights(tmp_path / "run") == weights(whole)
        assert sorted(os.listdir(tmp_path / "run" / "conv")) == sorted(os.listdir(whole / "conv"))
        (tmp_path / "run").rename(tmp_path.parent / f"ended-{seed}-{ends}")
        ends += 1
    print(f"{done} kills, {ends} trainings ended with the same bits")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(source, start_training, tmp_path, number, code):
    training = start_training(*options(source, epochs=3000), cwd=tmp_path)
    state = tmp_path / "run.partial" / "simple" / "state.pt"
    while not state.exists():
        assert training.ended(0.02) is None
    second = start_training(*options(source), cwd=tmp_path).ended()
    assert (second[0], second[2].count("\n")) == (2, 1)
    assert "another training is using it" in second[2]
    training.send(number)
    returned, out, err = training.ended()
    assert (returned, out) == (code, "")
    assert err.startswith("clf-train: stopped in epoch ")
    assert err.endswith("; resume with: clf-train --resume run\n")
    assert err.count("\n") == 1
    again = start_training(*options(source), cwd=tmp_path).ended()
    assert again[0] == 2
    assert "holds a stopped training" in again[2]


def test_like_trains_the_same_again(never_stopped, start_training, tmp_path):
    whole, _ = never_stopped
    code, _, err = start_training("--like", whole, "--out", "again", "--quiet", cwd=tmp_path).ended()
    assert (code, err) == (0, "")
    assert weights(tmp_path / "again") == weights(whole)
    first, second = (json.loads((run / "conv" / "run.json").read_text()) for run in (whole, tmp_path / "again"))
    for key in ("recipe", "seed", "names", "normalisation", "temperature", "best_epoch", "test", "calibration"):
        assert first[key] == second[key]


def test_like_refuses_other_images(source, never_stopped, start_training, tmp_path):
    whole, _ = never_stopped
    with np.load(source) as arrays:
        np.savez(tmp_path / "other.npz", images=arrays["images"] // 2, labels=arrays["labels"])
    code, _, err = start_training("--like", whole / "conv", "--data", "other.npz", "--quiet", cwd=tmp_path).ended()
    assert (code, err.count("\n")) == (2, 1)
    assert "does not hold the images of the training" in err
    assert [p.name for p in tmp_path.iterdir()] == ["other.npz"]
