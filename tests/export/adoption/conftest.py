"""Foreign classifiers as other programs write them, generated, and pictures for them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

NAMES = ("red", "green", "blue")
KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}


def _foreign(
    *,
    batch="N",
    layout="NCHW",
    dtype="float32",
    end="softmax",
    opset=18,
    ir=8,
    size=(8, 8),
    channels=3,
    classes=3,
    flatten="Flatten",
    extra=(),
    outputs=(),
    metadata=None,
):
    """A classifier of images: conv, ReLU, mean, dense; its weights are random, and no two channels are alike.

    `end` is what follows: softmax, sigmoid, logits, or four axes; `extra` nodes and `outputs` are added.
    """
    random = np.random.default_rng(3)
    weights = {
        "w": random.normal(size=(6, channels, 3, 3)),
        "b": random.normal(size=6) * 0.3,
        "k": random.normal(size=(6, classes)) * 4,
    }
    kept = np.float16 if dtype == "float16" else np.float32
    constants = [numpy_helper.from_array(values.astype(kept), name) for name, values in weights.items()]
    nodes = []
    name = "x"
    if dtype == "uint8":
        nodes += [helper.make_node("Cast", [name], ["floats"], to=TensorProto.FLOAT)]
        constants.append(numpy_helper.from_array(np.array(255, np.float32), "most"))
        nodes += [helper.make_node("Div", ["floats", "most"], ["shares"])]
        name = "shares"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [name], ["first"], perm=[0, 3, 1, 2]))
        name = "first"
    nodes += [
        helper.make_node("Conv", [name, "w", "b"], ["c"], pads=[1, 1, 1, 1], auto_pad="NOTSET"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
    ]
    if flatten == "Flatten":
        nodes.append(helper.make_node("Flatten", ["g"], ["f"]))
    else:
        constants.append(numpy_helper.from_array(np.array([batch, 6], np.int64), "flat"))
        nodes.append(helper.make_node("Reshape", ["g", "flat"], ["f"]))
    last = "s" if end == "logits" else "z"
    nodes.append(helper.make_node("MatMul", ["f", "k"], [last]))
    shape = [batch, classes]
    if end == "four axes":
        constants.append(numpy_helper.from_array(np.array([-1, classes, 1, 1], np.int64), "four"))
        nodes += [helper.make_node("Reshape", ["z", "four"], ["y"]), helper.make_node("Softmax", ["y"], ["s"], axis=1)]
        shape = [batch, classes, 1, 1]
    elif end != "logits":
        kind = {"softmax": "Softmax", "sigmoid": "Sigmoid"}[end]
        nodes.append(helper.make_node(kind, ["z"], ["s"], **({"axis": 1} if end == "softmax" else {})))
    height, width = size
    image = [batch, channels, height, width] if layout == "NCHW" else [batch, height, width, channels]
    of_floats = KINDS["float16" if dtype == "float16" else "float32"]
    graph = helper.make_graph(
        [*nodes, *extra],
        "foreign",
        [helper.make_tensor_value_info("x", KINDS[dtype], image)],
        [helper.make_tensor_value_info("s", of_floats, shape), *outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    helper.set_model_props(model, metadata or {})
    return model


@pytest.fixture(scope="session")
def foreign():
    return _foreign


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Noise in 3 labelled classes, in an .npz: 40 images, each brighter in one channel."""
    random = np.random.default_rng(5)
    labels = np.arange(40) % 3
    images = random.integers(0, 120, (40, 3, 8, 8))
    images[np.arange(40), labels] += 120
    file = tmp_path_factory.mktemp("pictures") / "some.npz"
    np.savez(file, images=images.astype(np.uint8), labels=labels, names=np.array(NAMES))
    return str(file)


@pytest.fixture
def saved(foreign, tmp_path):
    """Save a foreign model, as it is made or as it is given, and return its path."""

    def save(model=None, name="theirs.onnx", **options):
        file = tmp_path / name
        onnx.save(foreign(**options) if model is None else model, file)
        return file

    return save
