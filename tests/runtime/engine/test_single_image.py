"""One image at a time, through bound buffers: the answers of a batch, for every thread its own."""

import io
import sys
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from clf_runtime import Classifier, ModelError, answer_files, answer_stream
from clf_runtime.engine.engine import open_engine

RED, GREEN = (np.full((3, 8, 8), 10, np.uint8) for _ in range(2))
RED[0], GREEN[1] = 200, 90
ROUNDING = 0 if sys.maxsize > 2**32 else 1e-6  # on 32-bit ARM a sum depends on the address of its terms


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", ["batch", 1])
def test_answers_are_those_of_the_plain_run(tiny_model, dtype, layout, batch):
    classifier = Classifier(tiny_model(dtype=dtype, layout=layout, batch=batch), "m")
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), np.uint8)
    for image in images if dtype == "uint8" else (images / 255).astype(np.float32):
        one = classifier.predict(image)
        [same] = classifier.predict_batch(image[None])
        assert one.index == same.index
        assert abs(one.probability - same.probability) <= ROUNDING
        assert classifier.predict(image.transpose(1, 2, 0)) == one


def test_it_is_for_the_cpu_and_for_probabilities(tiny_model):
    assert Classifier(tiny_model(), "m")._run_single is not None
    assert Classifier(tiny_model(card=None, softmax=False), "m")._run_single is None
    engine = open_engine(tiny_model(), "m")
    engine.on_cpu = False
    assert engine.bind_single(3) is None


def test_a_distribution_is_that_of_a_batch(tiny_model):
    classifier = Classifier(tiny_model(), "m")
    one, [same] = classifier.predict(RED, distribution=True), classifier.predict_batch(RED[None], distribution=True)
    assert one == same
    assert one.distribution.dtype == np.float32
    np.testing.assert_array_equal(one.distribution, same.distribution)


def test_files_and_streams_take_it_too(tiny_model, tmp_path):
    np.save(tmp_path / "red.npy", RED)
    record = (tmp_path / "red.npy").read_bytes()
    classifier, run = Classifier(tiny_model(), "m"), []
    single = classifier._run_single
    classifier._run_single = lambda image: run.append(image) or single(image)
    stream = io.BufferedReader(io.BytesIO(2 * record))
    answers = [*answer_files(classifier, tmp_path), *answer_stream(classifier, stream, distribution=True)]
    assert [answer.prediction.name for answer in answers] == ["red"] * 3
    assert len(run) == 3


def test_threads_get_the_answers_to_their_own_images(tiny_model):
    classifier, wrong = Classifier(tiny_model(), "m"), []

    def work(image, name):
        wrong.extend(found for _ in range(2000) if (found := classifier.predict(image).name) != name)

    pairs = [(RED, "red"), (GREEN, "green")] * 3
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_answer_of_another_shape_than_was_declared_is_an_error_not_an_overrun(tiny_model):
    """As many answers as the brightest pixel says: no look at the graph tells."""
    model = onnx.load_from_string(tiny_model())
    graph = model.graph
    graph.node[-1].output[0] = "all"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), "zero"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "one"))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["wide"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["wide", "one"], ["repeats"]),
            helper.make_node("Concat", ["one", "repeats"], ["times"], axis=0),
            helper.make_node("Tile", ["all", "times"], ["probabilities"]),
        ]
    )
    classifier = Classifier(model.SerializeToString(), "m.onnx")
    dark = np.full((3, 8, 8), 1, np.uint8)
    assert classifier.predict(dark).probability == pytest.approx(1 / 3)
    for image in (RED, np.zeros_like(RED)):
        with pytest.raises(ModelError, match=r"m\.onnx: the model (failed on a batch of 1|gave an output of shape)"):
            classifier.predict(image)
    assert classifier.predict(dark).probability == pytest.approx(1 / 3)


def test_a_prediction_in_the_middle_of_another_disturbs_it_not(tiny_model):
    """As a signal handler may ask for one, right after the model ran."""
    classifier = Classifier(tiny_model(), "m")
    engine, inner = open_engine(tiny_model(), "m"), []
    session = engine._session
    run = session.run_with_iobinding

    def interrupted(binding):
        run(binding)
        if not inner:
            inner.append(None)
            inner[0] = classifier.predict(GREEN).name

    session.run_with_iobinding = interrupted
    classifier._run_single = engine.bind_single(3)
    assert classifier.predict(RED).name == "red"
    assert inner == ["green"]


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_a_file_without_a_card_may_answer_in_another_float(tiny_model, kind):
    model = onnx.load_from_string(tiny_model(card=None))
    model.graph.node[-1].output[0] = "single"
    model.graph.node.append(helper.make_node("Cast", ["single"], ["probabilities"], to=kind))
    model.graph.output[0].type.tensor_type.elem_type = kind
    classifier = Classifier(model.SerializeToString(), "m")
    assert classifier._run_single is None
    assert classifier.predict(RED).index == classifier.predict_batch(RED[None])[0].index == 0


@pytest.mark.parametrize("call", ["predict", "predict_batch"])
def test_what_a_signal_handler_raises_is_not_the_model_s_fault(tiny_model, call):
    def too_late(*_):
        raise TimeoutError("too late")

    classifier = Classifier(tiny_model(), "m")
    classifier._run = classifier._run_single = too_late
    with pytest.raises(TimeoutError, match="too late"):
        getattr(classifier, call)(RED if call == "predict" else RED[None])
