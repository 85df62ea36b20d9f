"""The seam: whatever is an Engine runs a Classifier, onnxruntime or not."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from clf_runtime import Classifier, ModelCard, ModelError
from clf_runtime import classifier as module
from clf_runtime.engine.engine import TensorInfo, open_engine
from clf_runtime.model.metadata import to_metadata

CARD = ModelCard("brightest", ("red", "green", "blue"), (3, 8, 8), "uint8", (0.0, 255.0))


@dataclasses.dataclass
class NumpyEngine:
    """Names the brightest channel, in numpy alone."""

    metadata: Mapping[str, str]
    provider: str = "numpy"
    on_cpu: bool = True
    notes: tuple[str, ...] = ("running on numpy",)
    inputs: tuple[TensorInfo, ...] = (TensorInfo("image", "uint8", ("batch", 3, 8, 8)),)
    outputs: tuple[TensorInfo, ...] = (TensorInfo("probabilities", "float32", ("batch", 3)),)

    def run(self, batch):
        if batch.min() > 200:
            raise ModelError("too bright")
        powers = np.exp(batch.mean(axis=(2, 3), dtype=np.float32) / 25)
        return powers / powers.sum(axis=1, keepdims=True)

    def run_all(self, batch):
        return [self.run(batch)]

    def bind_single(self, size, outputs=1):
        return None


@pytest.fixture
def classifier(monkeypatch):
    monkeypatch.setattr(module, "open_engine", lambda model, where, **options: NumpyEngine(to_metadata(CARD)))
    return Classifier(b"\x08\x08", "m.numpy")


def test_a_classifier_runs_on_any_engine(classifier, tmp_path):
    images = np.zeros((200, 3, 8, 8), np.uint8)
    images[np.arange(200), np.arange(200) % 3] = 200
    names = [CARD.names[i % 3] for i in range(200)]
    assert [p.name for p in classifier.predict_batch(images)] == names
    assert [classifier.predict(image).name for image in images] == names
    np.save(tmp_path / "x.npy", images)
    assert [p.name for _, p in classifier.predict_file(tmp_path / "x.npy")] == names
    assert (classifier.predict(images[0]).provider, classifier.notes) == ("numpy", ("running on numpy",))


def test_what_an_engine_says_stands_behind_the_file_s_name(classifier):
    with pytest.raises(ModelError, match=r"^m\.numpy: the model failed on a batch of 1: too bright$"):
        classifier.predict(np.full((3, 8, 8), 255, np.uint8))


def test_onnxruntime_describes_what_it_has_opened(tiny_model):
    engine = open_engine(tiny_model(metadata={"a": "b"}), "m.onnx")
    assert engine.inputs == [TensorInfo("image", "uint8", ("batch", 3, 8, 8))]
    assert [str(output) for output in engine.outputs] == ["float32 ['batch', 3]"]
    assert engine.metadata["a"] == "b"
    batch = np.zeros((2, 3, 8, 8), np.uint8)
    [answers] = engine.run_all(batch)
    np.testing.assert_array_equal(engine.run(batch), answers)


def test_a_graph_that_is_not_optimised_means_the_same(tiny_model):
    batch = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), np.uint8)
    plain = open_engine(tiny_model(), "m.onnx", optimised=False).run(batch)
    np.testing.assert_allclose(plain, open_engine(tiny_model(), "m.onnx").run(batch), atol=1e-6)


def test_what_it_fails_on_is_an_error_of_one_line(tiny_model):
    engine = open_engine(tiny_model(), "m.onnx")
    for run in (engine.run, engine.run_all):
        with pytest.raises(ModelError) as error:
            run(np.zeros((1, 3, 9, 9), np.uint8))
        assert "\n" not in str(error.value)
