import numpy as np
import onnx
import onnxruntime as ort
import pytest

from clf_export.rewriting import rewrite
from clf_train import find_recipe, read_source
from clf_train.recipe import change
from clf_train.training import train


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
