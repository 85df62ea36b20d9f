import functools
from hashlib import sha256

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from blank_pictures import blank_pictures
from onnx import TensorProto, helper, numpy_helper

from clf_export import export as exporting
from clf_export import int8_export
from clf_export.graph.rewrite import rewrite
from clf_train import find_recipe, read_source
from clf_train.loop.rebuild import pack_weights
from clf_train.models.recipe import change
from clf_train.training import train


@pytest.fixture(scope="session", autouse=True)
def one_registry():
    """PyTorch makes its table of ONNX translations anew for each export, which takes it 0.4 s: here it is kept."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    patch = pytest.MonkeyPatch()
    patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def made_before():
    """What exports of this session made of a net: its graph, and its familiarity."""
    return {}


@pytest.fixture(scope="module")
def translated_once(short_proof, made_before):
    """Exports of one net share its graph, and have a short proof."""
    build_graph = exporting.build_graph

    def build(net, *arguments):
        key = (repr(net), pack_weights(net), *arguments)
        if key not in made_before:
            made_before[key] = build_graph(net, *arguments).SerializeToString()
        return onnx.ModelProto.FromString(made_before[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "build_graph", build)
        yield


@pytest.fixture(scope="module")
def exported_once(quick_exports, translated_once, made_before):
    """Exports of one net share its graph and its familiarity, which take most of the time of an export."""
    with_familiarity = exporting.with_familiarity

    def fit(model, images):
        parts = (images.known, images.held_out, *images.outliers.values(), *images.fresh.values(), images.given)
        key = (model.SerializeToString(deterministic=True), *(sha256(part.tobytes()).digest() for part in parts))
        if key not in made_before:
            made, familiar = with_familiarity(model, images)
            made_before[key] = made.SerializeToString(), familiar
        made, familiar = made_before[key]
        return onnx.ModelProto.FromString(made), familiar

    with pytest.MonkeyPatch.context() as patch:
        for module in (exporting, int8_export):
            patch.setattr(module, "with_familiarity", fit)
        yield


@pytest.fixture(scope="session")
def make_run(tmp_path_factory):
    """Train a model for one epoch on the embedded digits, as uint8 or as floats in 0..1, once a session."""
    made = {}

    def make(model, dtype="uint8"):
        if (model, dtype) not in made:
            folder = tmp_path_factory.mktemp("run")
            source = "digits"
            if dtype == "float32":
                source = folder / "digits.npz"
                digits = read_source("digits")
                images = np.concatenate([digits.train.images, digits.test.images]).astype(np.float32) / 255
                np.savez(source, images=images, labels=np.concatenate([digits.train.labels, digits.test.labels]))
            dataset = read_source(source)
            recipe = change(find_recipe("fast", model), {"epochs": 2})
            with blank_pictures():
                train(dataset, {model: recipe}, folder / model)
            made[model, dtype] = (folder / model, dataset)
        return made[model, dtype]

    return make


@pytest.fixture(scope="session")
def rewritten():
    """Rewrite a graph given as ONNX text, hold its answers to those before, and return its model.

    `body` is nodes from `image` to `y`, a name a node; constants are arrays, or shapes for random values. Answers must
    agree to 1e-5 of the largest.
    """

    def run(model, images):
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"image": images})

    def rewritten(body, constants, image="uint8[batch,3,8,8]", output="float[batch,k]"):
        random = np.random.default_rng(5)
        head = f'<ir_version: 8, opset_import: ["" : 18]> g ({image} image) => ({output} y)'
        model = onnx.parser.parse_model(f"{head} {{ {body} }}")
        for name, values in constants.items():
            if isinstance(values, tuple):
                values = random.normal(size=values).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        onnx.checker.check_model(model)
        after = onnx.ModelProto.FromString(model.SerializeToString())
        rewrite(after)
        onnx.checker.check_model(after, full_check=True)
        shape = [d.dim_value or 4 for d in model.graph.input[0].type.tensor_type.shape.dim]
        images = random.integers(0, 256, shape, dtype=np.uint8)
        if image.startswith("float"):
            images = (images / 255).astype(np.float32)
        for batch in (images, images[:1]):
            [expected], [given] = run(model, batch), run(after, batch)
            assert np.ptp(expected) > 0 or len(batch) == 1
            np.testing.assert_allclose(given, expected, atol=1e-5 * np.abs(expected).max())
        return after

    return rewritten


def _small_net(dtype="uint8", dense=64):
    """Uint8 or float images [batch, 3, 12, 12] → conv, ReLU, maximum, dense, ReLU, dense, softmax of 4 classes."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["g"], transB=1),
        helper.make_node("Relu", ["g"], ["h"]),
        helper.make_node("MatMul", ["h", "w3"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    if dtype == "uint8":
        nodes.insert(0, helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT))
    image = "image" if dtype == "uint8" else "x"
    gain = 1 / 128 if dtype == "uint8" else 2.0
    constants = {
        "w1": random.normal(size=(8, 3, 3, 3)) * gain / 5,
        "b1": random.normal(size=8) * 0.1,
        "w2": random.normal(size=(dense, 200)) / 14,
        "b2": random.normal(size=dense) * 0.1,
        "w3": random.normal(size=(dense, 4)),
    }
    graph = helper.make_graph(
        nodes,
        "clf-edge",
        [helper.make_tensor_value_info(image, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["batch", 3, 12, 12])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"secret": "of the float model"})
    return model


@pytest.fixture(scope="session")
def small_net():
    return _small_net


@pytest.fixture(scope="session")
def net(small_net):
    """One small net, for what does not change it."""
    return small_net()


@pytest.fixture(scope="session")
def images():
    """Images of noise for it, uint8 [900, 3, 12, 12]."""
    return np.random.default_rng(1).integers(0, 256, (900, 3, 12, 12), dtype=np.uint8)
