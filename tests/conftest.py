"""What several test folders need: a tiny generated model, and a way to run a command in this process.

Nothing here imports torch, so that the runtime's tests run where a device's packages are all there is.
"""

import multiprocessing.util
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper

from clf_runtime.model.card import ModelCard
from clf_runtime.model.familiarity import Familiarity
from clf_runtime.model.metadata import to_metadata

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would the processes that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Each of several workers computes on one core; PyTorch reads this when it is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Timings never decide a test; in CI the property tests try the same cases every time.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("steady"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "steady")

COLOURS = ("red", "green", "blue")


def _tiny_model(
    *,
    dtype: str = "uint8",
    size: tuple[int, int] = (8, 8),
    batch: int | str = "batch",
    layout: str = "NCHW",
    softmax: bool = True,
    card: ModelCard | str | None = "own",
    metadata: dict[str, str] | None = None,
    value_range: tuple[float, float] | None = None,
    familiar: bool = False,
) -> bytes:
    """A model that names the brightest of the channels red, green and blue: mean over the image, times 10, softmax.

    A `familiar` one has a second output too, how bright that channel is, in 0..1; below 0.25 an image is unknown.
    """
    height, width = size
    shape = [batch, 3, height, width] if layout == "NCHW" else [batch, height, width, 3]
    high = 255.0 if dtype == "uint8" else 1.0
    value_range = value_range or (0.0, high)
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "gain"], ["probabilities" if not softmax else "logits"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 3])]
    if familiar:
        nodes.append(helper.make_node("ReduceMax", ["mean", "classes"], ["brightest"], keepdims=0))
        nodes.append(helper.make_node("Div", ["brightest", "high"], ["familiarity"]))
        outputs.append(helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, [batch]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)],
        outputs,
        [
            numpy_helper.from_array(np.array([1], np.int64), "classes"),
            numpy_helper.from_array(np.array(value_range[1], np.float32), "high"),
            numpy_helper.from_array(np.array(axes, np.int64), "axes"),
            numpy_helper.from_array(np.array(10 / value_range[1], np.float32), "gain"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    if card == "own":
        known = Familiarity(0.25, 100, True, 10, ("noise",), (1.0,)) if familiar else None
        card = ModelCard("tiny", COLOURS, (3, height, width), dtype, value_range, layout=layout, familiarity=known)
    properties = to_metadata(card) if isinstance(card, ModelCard) else {}
    properties.update(metadata or {})
    if properties:
        helper.set_model_props(model, properties)
    return model.SerializeToString()


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests and their processes leave in the temporary folder goes with this one, whose path sockets can have."""
    tmp_path_factory.getbasetemp()  # which is not inside, nor is the next one, which removes itself at the very end
    multiprocessing.util.get_temp_dir()
    temporary = tempfile.TemporaryDirectory(prefix="clf-", ignore_cleanup_errors=True)
    with temporary as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Files are not synced, for which a test would wait longer than for all else: no power fails in a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def no_drawing() -> Iterator[None]:
    """Trainings and sheets of samples have blank pictures."""
    from blank_pictures import blank_pictures

    with blank_pictures():
        yield


@pytest.fixture(scope="module")
def short_proof() -> Iterator[None]:
    """Exports are proven in small batches only, where the proof is not what is tested."""
    from clf_export.proof import independence, proof, self_test

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(independence, "SIZES", (2, 3, 7))
        patch.setattr(independence, "_BESIDE", (2, 7))
        patch.setattr(independence, "_GRADIENTS", (2, 5))
        patch.setattr(proof, "BATCHES", (1, 2, 7))
        patch.setattr(self_test, "_MOST_DAMAGES", 8)
        yield


@pytest.fixture(scope="module")
def quick_exports(short_proof: None) -> Iterator[None]:
    """Neither proof nor familiarity is what is tested: the one is short, and the other is fitted to few images."""
    from clf_export.familiarity import control, images

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_KNOWN", 400)
        patch.setattr(images, "_A_KIND", 40)
        patch.setattr(images, "_FROZEN_A_KIND", 4)
        patch.setattr(control, "_MOST_FROZEN", 20)
        yield


@pytest.fixture
def tiny_model() -> Callable[..., bytes]:
    return _tiny_model


@pytest.fixture
def tiny_file(tmp_path: Any) -> str:
    file = tmp_path / "tiny.onnx"
    file.write_bytes(_tiny_model())
    return str(file)


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command's `main` in this process with arguments."""

    def run(main: Callable[[], None], *arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run
