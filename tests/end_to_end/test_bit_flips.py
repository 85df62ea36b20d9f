"""One flipped bit anywhere in a file that we wrote: it is refused, or changes nothing that is read.

CLF_EDGE_FLIPS=1000 flips so many in each file, and -s shows the counts.
"""

import os

import numpy as np
import pytest
import torch

from clf_export import export_run
from clf_runtime import Classifier, ClfError
from clf_train import find_recipe, read_source
from clf_train.errors import Stopped
from clf_train.loop import checkpoint
from clf_train.loop.fit import Watcher
from clf_train.models.recipe import change
from clf_train.models.registry import build_model
from clf_train.runs.plan import read_plan
from clf_train.runs.run import load_net, read_run
from clf_train.training import train

FLIPS = int(os.environ.get("CLF_EDGE_FLIPS", "40"))


@pytest.fixture(scope="module")
def folder(no_drawing, short_proof, tmp_path_factory):
    """A run, its model file, and beside it a training that was stopped."""
    folder = tmp_path_factory.mktemp("files")
    digits = read_source("digits")
    recipes = {"conv": change(find_recipe("fast", "conv"), {"epochs": 1})}
    train(digits, recipes, folder / "run")
    export_run(folder / "run", digits, folder / "model.onnx", familiarity="off")
    asked = []

    def stopping():
        asked.append(True)
        return len(asked) > 2

    with pytest.raises(Stopped):
        train(digits, recipes, folder / "stopped", on_start=lambda *_: Watcher(stopping=stopping))
    return folder


def read_net(folder):
    net = load_net(folder / "run", read_run(folder / "run"))
    return torch.cat([p.flatten() for p in net.parameters()]).tolist()


def read_state(folder):
    plan = read_plan(folder / "stopped.partial")
    recipe = plan.recipes["conv"]
    state = checkpoint.new_state(build_model("conv", (3, 32, 32), 10), recipe, torch.device("cpu"), plan.seed)
    data = (folder / "stopped.partial" / "state.pt").read_bytes()
    scores = checkpoint.unpack(data, state, recipe, plan.seed, "state.pt")
    return [p.tolist() for p in state.net.parameters()], scores.tolist(), state.epoch, state.batch, state.history


def read_model(folder):
    classifier = Classifier.load(folder / "model.onnx", device="cpu")
    images = np.random.default_rng(1).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    return classifier.card, classifier.probabilities(images).tolist()


READERS = {
    "run/weights.safetensors": read_net,
    "run/probe.safetensors": read_net,
    "run/run.json": lambda folder: read_run(folder / "run"),
    "stopped.partial/state.pt": read_state,
    "stopped.partial/plan.json": lambda folder: read_plan(folder / "stopped.partial"),
    "model.onnx": read_model,
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_refused_or_harmless(name, folder):
    file, read = folder / name, READERS[name]
    whole = file.read_bytes()
    expected = read(folder)
    random = np.random.default_rng(len(whole))
    refused, wrong = 0, []
    try:
        for place in random.integers(0, len(whole), FLIPS).tolist():
            bit = int(random.integers(8))
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            file.write_bytes(damaged)
            try:
                if read(folder) != expected:
                    wrong.append((place, bit))
            except ClfError:
                refused += 1
    finally:
        file.write_bytes(whole)
    print(f"{name}: {FLIPS} flips, {refused} refused, {FLIPS - refused - len(wrong)} harmless, {len(wrong)} wrong")
    assert wrong == []
