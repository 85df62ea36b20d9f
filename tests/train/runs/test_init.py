"""--init: a training that begins with the weights of an earlier run."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clf_train import find_recipe, read_source, train
from clf_train.commands.train import main
from clf_train.models.recipe import change
from clf_train.runs.run import load_net, read_run


def write(file, shape=(3, 16, 16), classes=3, dtype=np.uint8):
    random = np.random.default_rng(classes)
    labels = np.arange(12 * classes) % classes
    images = random.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    images = images if dtype == np.uint8 else (images / 255).astype(dtype)
    np.savez(file, images=images, labels=labels, names=np.array([f"class {i}" for i in range(classes)]))
    return str(file)


@pytest.fixture(scope="module")
def made(no_drawing, tmp_path_factory):
    folder = tmp_path_factory.mktemp("init")
    data = write(folder / "set.npz")
    train(read_source(data), {"conv": change(find_recipe("fast", "conv"), {"epochs": 2})}, folder / "run")
    return folder / "run", data


SLOW = ("--epochs", "1", "--learning-rate", "1e-9", "--optimizer", "sgd", "--weight-decay", "0")  # as it began, almost


def begin(command, made, tmp_path, data, *more):
    return command(main, "--data", data, "--init", str(made[0]), "--out", str(tmp_path / "new"), *SLOW, *more)


def test_the_same_classes_keep_every_weight(command, made, tmp_path):
    ended = begin(command, made, tmp_path, made[1])
    assert ended.code == 0, ended.err
    assert "conv: it starts from all weights of run" in ended.err
    new, run = read_run(tmp_path / "new"), read_run(made[0])
    assert (new.init.folder, new.init.weights_sha256) == (str(made[0]), run.weights_sha256)
    nets = load_net(made[0], run), load_net(tmp_path / "new", new)
    for before, after in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def test_other_classes_have_a_new_head_and_all_else_is_kept(command, made, tmp_path):
    ended = begin(command, made, tmp_path, write(tmp_path / "five.npz", classes=5))
    assert ended.code == 0, ended.err
    assert "the weights of run but for fc2.bias, fc2.weight, since the classes are others" in ended.err
    before, after = (load_file(folder / "weights.safetensors") for folder in (made[0], tmp_path / "new"))
    torch.testing.assert_close(after["conv1.weight"], before["conv1.weight"], rtol=0, atol=1e-6)
    assert after["fc2.weight"].shape == (5, 100)


def test_images_of_another_range_are_brought_to_what_the_weights_know(command, made, tmp_path):
    assert begin(command, made, tmp_path, write(tmp_path / "floats.npz", dtype=np.float32)).code == 0
    new, run = read_run(tmp_path / "new"), read_run(made[0])
    np.testing.assert_allclose(np.multiply(new.normalisation.mean, 255), run.normalisation.mean, rtol=1e-6)
    np.testing.assert_allclose(np.multiply(new.normalisation.std, 255), run.normalisation.std, rtol=1e-6)


def test_it_is_repeated_with_the_same_weights(command, made, tmp_path):
    assert begin(command, made, tmp_path, made[1]).code == 0
    ended = command(main, "--like", str(tmp_path / "new"), "--out", str(tmp_path / "again"), "--quiet")
    assert ended.code == 0, ended.err
    weights = [(tmp_path / folder / "weights.safetensors").read_bytes() for folder in ("new", "again")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--model", "resnet8"), "is of the model conv, and cannot begin resnet8"),
        (("--data", "{larger}"), "its images are 3x16x16, and its weight fc1.weight does not fit a net for 3x24x24"),
        (("--init", "{nothing}"), "no run folder"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_no_folder(command, made, tmp_path, more, says):
    names = {"larger": write(tmp_path / "larger.npz", (3, 24, 24)), "nothing": str(tmp_path)}
    ended = begin(command, made, tmp_path, made[1], *(word.format(**names) for word in more))
    assert (ended.code, says in ended.err) == (2, True), ended.err
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "new.partial").exists()


def test_a_run_that_is_another_now_is_not_begun_with_again(command, made, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(made[0], moved)
    assert begin(command, (moved, made[1]), tmp_path, made[1]).code == 0
    another = ("--data", made[1], "--model", "conv", "--seed", "1", *SLOW)
    again = command(main, *another, "--out", str(moved), "--overwrite")
    assert again.code == 0, again.err
    ended = command(main, "--like", str(tmp_path / "new"), "--out", str(tmp_path / "again"))
    assert (ended.code, "is another run than the training began with" in ended.err) == (2, True)
    assert json.loads((tmp_path / "new" / "run.json").read_text())["pretrained"] == ""
