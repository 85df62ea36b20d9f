"""What needs an NVIDIA GPU: `make test-cuda`. Elsewhere these tests are skipped, and say so.

`CLF_EDGE_CUDA_ON=cpu` runs them on the CPU instead, to see that the tests themselves work: all but what only CUDA does.
"""

import os
import sys
from pathlib import Path

import pytest
from blank_pictures import blank_pictures

from clf_runtime.errors import DeviceError
from clf_train import find_recipe, read_source
from clf_train.loop.device import select_device
from clf_train.models.recipe import change
from clf_train.training import train

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


@pytest.fixture(scope="session")
def device():
    """`cuda`; the tests are skipped without one."""
    if os.environ.get("CLF_EDGE_CUDA_ON") == "cpu":
        return "cpu"
    try:
        select_device("cuda")
    except DeviceError as error:
        pytest.skip(f"no CUDA device: {error}")
    return "cuda"


@pytest.fixture(scope="session")
def provider(device):
    """The provider that `--device` runs; skipped where onnxruntime has none for CUDA, which onnxruntime-gpu has."""
    from clf_runtime.engine.ort_library import import_onnxruntime

    if PROVIDERS[device] not in (found := import_onnxruntime().get_available_providers()):
        pytest.skip(f"onnxruntime is built without CUDA, install onnxruntime-gpu: it has {', '.join(found)}")
    return PROVIDERS[device]


@pytest.fixture(scope="session")
def digits():
    return read_source("digits")


@pytest.fixture(scope="session")
def trained(device, digits, tmp_path_factory):
    """Train a model for some epochs on the device, by the recipe `fast` with changes; returns its folder and run."""

    def make(model, seed=0, **changes):
        folder = tmp_path_factory.mktemp("trained") / model
        recipe = change(find_recipe("fast", model), {"epochs": 6, **changes})
        with blank_pictures():
            [run] = train(digits, {model: recipe}, folder, device=device, seed=seed)
        return folder, run

    return make


@pytest.fixture(scope="session")
def conv_run(trained):
    """The run of a conv that was trained on the device."""
    return trained("conv")


@pytest.fixture(scope="session")
def child_environment():
    """The environment of a child process: the packages of this one, and the libraries of CUDA beside PyTorch."""
    libraries = [str(folder) for entry in sys.path for folder in Path(entry or ".").glob("nvidia/*/lib")]
    given = os.environ.get("LD_LIBRARY_PATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "LD_LIBRARY_PATH": os.pathsep.join([*libraries, *([given] if given else [])]),
    }
