"""The control of a familiarity: known images, changed, and the share of them that is called unknown."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clf_export.familiarity import control
from clf_export.familiarity.control import KINDS, called_unknown, change, measure_control
from clf_export.familiarity.images import FrozenImages, Images
from clf_export.familiarity.left_out import with_familiarity_of_left_out
from clf_export.familiarity.neighbours import with_neighbours
from clf_runtime.model.open_set import OpenSet, open_set_fault


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "dtype"), [((3, 32, 32), "uint8"), ((1, 9, 14), "float32"), ((2, 4, 4), "uint8")])
def test_a_changed_image_is_still_like_it(kind, shape, dtype):
    high = 255 if dtype == "uint8" else 1.0
    rows, columns = np.mgrid[: shape[1], : shape[2]] / max(shape[1:])
    scene = np.broadcast_to((rows + columns) / 2, (4, *shape)) * np.array([0.3, 0.5, 0.7, 0.9])[:, None, None, None]
    images = (scene * high).astype(dtype)
    made = change(images, (0, high), kind, np.random.default_rng(0))
    assert (made.shape, made.dtype) == (images.shape, images.dtype)
    assert not np.array_equal(made, images)
    away = np.abs(made.astype(float) - images.astype(float)) / high
    if not kind.startswith("smaller"):
        assert away.mean() < 0.12
    elif "white" in kind:
        assert (made[:, :, -1] == high).all()


@pytest.fixture(scope="module")
def frozen():
    """A net of a random convolution, and 120 noisy images of three colours, of which its head was fitted to none."""
    random = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = random.integers(0, 120, (120, 3, 8, 8), np.uint8)
    images[np.arange(120), labels] += 100
    weights = {
        "w": random.normal(0, 0.1, (12, 3, 3, 3)).astype(np.float32),
        "v": random.normal(0, 0.1, (3, 12)).astype(np.float32),
        "b": np.zeros(3, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "w"], ["map"]),
        helper.make_node("Relu", ["map"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["average"]),
        helper.make_node("Flatten", ["average"], ["flat"]),
        helper.make_node("Gemm", ["flat", "v", "b"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "frozen",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model, FrozenImages(images, labels, 3, 1e-2, None, 1.0, 0, {})


def test_of_a_frozen_net_unchanged_images_are_unknown_as_often_as_the_threshold_says(frozen):
    """Each is scored by what had not seen it; by the finished file, which has, they would all be familiar."""
    model, images = frozen
    rows = np.arange(120)
    noise = np.random.default_rng(1).integers(0, 256, images.known.shape, np.uint8)
    same, other = called_unknown(model, images, rows, [images.known, noise], 0.05)
    assert same == pytest.approx(0.05, abs=0.01)
    assert other > 0.5
    found = measure_control(model, with_neighbours(model, images).SerializeToString(), images, (0, 255), 0.05)
    assert (found.images, found.kinds) == (40, tuple(KINDS))
    assert dict(zip(found.kinds, found.called_unknown, strict=True))["coded as JPEG"] < 0.3


def test_a_familiarity_without_a_class_is_asked_about_it(frozen):
    model, images = frozen
    nothing = (None,) * 3
    same = ((0.5, 0.5, 0.5),) * 4
    found = OpenSet(1, ((0,), (2,), (1,)), 0, 0.9, 240, 1.0, (40, 40, 40), *same)
    told = with_familiarity_of_left_out(found, model, images)
    assert open_set_fault(told, 3) is None
    assert min(told.familiarity_auroc) > 0.7  # of another colour than the two that it knows
    assert replace(told, familiarity_auroc=None, familiarity_noticed=None) == found
    without = replace(found, **dict.fromkeys(("probability_auroc", "logit_auroc"), nothing))
    without = replace(without, probability_noticed=nothing, logit_noticed=nothing)
    assert with_familiarity_of_left_out(without, model, images).familiarity_auroc == nothing
    assert with_familiarity_of_left_out(found, model, None) is found
    assert with_familiarity_of_left_out(None, model, images) is None


def test_few_held_out_images_cannot_tell(frozen):
    model, images = frozen
    few = Images(images.known, images.known[:19], {}, {}, True)
    assert measure_control(model, b"", few, (0, 255), 0.05) is None


def test_it_is_of_the_file_s_own_familiarity(frozen, monkeypatch):
    model, images = frozen
    asked = []

    def answer(data, those):
        asked.append(len(those))
        return np.linspace(0, 1, len(those))

    monkeypatch.setattr(control, "second_output", answer)
    found = measure_control(
        onnx.ModelProto(),
        b"file",
        Images(images.known, images.known, {}, {}, True),
        (0, 255),
        0.05,
    )
    assert asked == [120] * len(KINDS)
    assert found.called_unknown == (0.05,) * len(KINDS)
    assert model.graph.name == "frozen"
