import hashlib
import io
import operator
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from clf_runtime import Assumptions, Classifier, ImageError, ModelCard, ModelError, answer_files, answer_stream
from clf_runtime.model.file import default_model

RED = np.zeros((3, 8, 8), np.uint8)
RED[0] = 200
BLUE = RED[::-1].copy()


def test_predict_gives_class_name_probability_model_and_provider(tiny_file):
    prediction = Classifier.load(tiny_file).predict(RED)
    assert (prediction.index, prediction.name) == (0, "red")
    assert 0.99 < prediction.probability < 1
    assert prediction.model_sha256 == hashlib.sha256(Path(tiny_file).read_bytes()).hexdigest()
    assert prediction.provider == "CPUExecutionProvider"
    assert prediction.distribution is None


def test_path_and_array_and_either_layout_give_one_answer(tiny_file, tmp_path):
    classifier = Classifier.load(tiny_file)
    np.save(tmp_path / "x.npy", BLUE)
    given = [BLUE, BLUE.transpose(1, 2, 0), BLUE / 255.0, tmp_path / "x.npy", str(tmp_path / "x.npy")]
    answers = [classifier.predict(image) for image in given]
    assert {answer.name for answer in answers} == {"blue"}
    assert answers == [answers[0]] * len(answers)


def test_the_answers_are_those_of_the_bare_session(tiny_file):
    images = np.random.default_rng(0).integers(0, 256, (600, 3, 8, 8), dtype=np.uint8)
    bare = onnxruntime.InferenceSession(tiny_file, providers=["CPUExecutionProvider"]).run(None, {"image": images})[0]
    predictions = Classifier.load(tiny_file).predict_batch(images, distribution=True)
    np.testing.assert_array_equal(np.stack([p.distribution for p in predictions]), bare)
    assert [p.index for p in predictions] == bare.argmax(1).tolist()
    assert [p.probability for p in predictions] == bare.max(1).tolist()


def test_a_batch_may_be_single_images_of_any_kind(tiny_file, tmp_path):
    np.save(tmp_path / "x.npy", BLUE)
    predictions = Classifier.load(tiny_file).predict_batch([RED, tmp_path / "x.npy", RED / 255.0])
    assert [p.name for p in predictions] == ["red", "blue", "red"]


def test_a_batch_is_arrays_too_and_equals_what_single_images_give(tiny_file):
    classifier = Classifier.load(tiny_file)
    images = np.random.default_rng(1).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    sure = classifier.predict_batch(images)
    half = float(np.median(sure.probabilities))
    some = classifier.predict_batch(images, reject_below=half)
    assert (sure.indices.dtype, sure.probabilities.dtype, len(sure)) == (np.int64, np.float32, 20)
    assert sure.indices.tolist() == [p.index for p in sure]
    assert some.indices.tolist() == [-1 if p.index is None else p.index for p in some]
    assert (some.indices < 0).tolist() == (sure.probabilities < half).tolist()
    assert some.probabilities.tolist() == sure.probabilities.tolist() == [p.probability for p in some]
    assert some == classifier.predict_batch(list(images), reject_below=half)
    assert some != sure
    barely = np.nextafter(sure[3].probability, 1)  # a float64 that is no float32
    assert classifier.predict_batch(images, reject_below=barely)[3].index is None
    assert classifier.predict(images[3], reject_below=barely).index is None
    for array in (sure.indices, sure.probabilities, some.indices):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1  # what is read later would be another
    assert sure[3] == sure[3:5][0] == classifier.predict(images[3])
    assert sure[-1] in sure
    assert list(classifier.predict_batch([])) == []
    with pytest.raises(ValueError, match="reject_below"):
        classifier.predict_batch(images, reject_below=2)


def test_a_path_is_no_batch(tiny_file):
    with pytest.raises(ImageError, match=r"^set\.npz: .*use predict_file"):
        Classifier.load(tiny_file).predict_batch("set.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_or_a_device_is_no_model(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ModelError, match="not a file"):
            Classifier.load(file)


def test_predict_refuses_more_than_one_image(tiny_file, tmp_path):
    classifier = Classifier.load(tiny_file)
    batch = np.stack([RED, BLUE])
    np.save(tmp_path / "x.npy", batch)
    for images in (batch, tmp_path / "x.npy"):
        with pytest.raises(ImageError, match="expected one"):
            classifier.predict(images)


def test_a_bad_image_in_a_file_does_not_stop_the_others(tiny_model, tmp_path):
    batch = np.full((300, 3, 8, 8), 0.2, np.float32)
    batch[:, 1] = 0.9
    batch[7, 0, 0, 0] = np.nan
    batch[299] = 8
    np.save(tmp_path / "x.npy", batch)
    answers = dict(Classifier(tiny_model(dtype="float32"), "m").predict_file(tmp_path / "x.npy"))
    bad = {i: str(answer) for i, answer in answers.items() if isinstance(answer, ImageError)}
    assert list(answers) == list(range(300))
    assert list(bad) == [7, 299]
    assert "x.npy[7]: a value that is NaN" in bad[7]
    assert "x.npy[299]: values outside" in bad[299]
    assert {a.name for i, a in answers.items() if i not in bad} == {"green"}


def test_a_model_with_a_fixed_batch_of_one_answers_a_batch(tiny_model):
    classifier = Classifier(tiny_model(batch=1), "m")
    assert [p.name for p in classifier.predict_batch(np.stack([RED, BLUE, RED]))] == ["red", "blue", "red"]


def test_a_model_of_nhwc_answers_alike(tiny_model):
    classifier = Classifier(tiny_model(layout="NHWC"), "m")
    assert [classifier.predict(x).name for x in (RED, BLUE.transpose(1, 2, 0))] == ["red", "blue"]


class TestWithoutACard:
    def test_shapes_are_found_and_the_assumptions_said(self, tiny_model):
        classifier = Classifier(tiny_model(card=None), "m.onnx")
        assert classifier.card.image_shape == (3, 8, 8)
        assert classifier.predict(RED).name == "0"
        assert "has no card" in classifier.notes[0]
        assert "uint8 in 0..255" in classifier.notes[0]
        assert "no names" in classifier.notes[1]
        assert len(classifier.notes) == 2

    def test_outputs_that_are_no_probabilities_get_a_softmax(self, tiny_model):
        with_softmax = Classifier(tiny_model(card=None), "m").predict(RED, distribution=True)
        classifier = Classifier(tiny_model(card=None, softmax=False), "m")
        assert any("softmax is applied" in note for note in classifier.notes)
        without = classifier.predict(RED, distribution=True)
        np.testing.assert_allclose(without.distribution, with_softmax.distribution, rtol=1e-5)

    def test_channels_last_are_seen(self, tiny_model):
        assume = Assumptions(value_range=(0, 1))
        classifier = Classifier(tiny_model(card=None, layout="NHWC", dtype="float32"), "m", assume=assume)
        assert classifier.card.layout == "NHWC"
        assert classifier.predict(BLUE).index == 2

    @pytest.mark.parametrize("names", ["{0: 'r', 1: 'g', 2: 'b'}", '{"0": "r", "1": "g", "2": "b"}', '["r", "g", "b"]'])
    def test_names_that_others_wrote_are_read(self, tiny_model, names):
        classifier = Classifier(tiny_model(card=None, metadata={"names": names}), "m")
        assert classifier.card.names == ("r", "g", "b")

    @pytest.mark.parametrize(
        "names", ["{", "3", "{0: 'a'}", "__import__('os')", "[" * 10_000, "{0: '', 1: 'b', 2: 'c'}"]
    )
    def test_names_that_do_not_fit_are_left(self, tiny_model, names):
        classifier = Classifier(tiny_model(card=None, metadata={"names": names}), "m")
        assert classifier.card.names == ("0", "1", "2")

    @pytest.mark.parametrize("size", [("height", 8), (8, "width")])
    def test_a_size_that_is_not_known_is_refused(self, tiny_model, size):
        model = tiny_model(card=None, size=size)
        with pytest.raises(ModelError, match=r"expected 4 axes, of known size .*; clf-export --onnx FILE"):
            Classifier(model, "m")


@pytest.mark.parametrize(
    "card",
    [
        ModelCard("tiny", ("a", "b", "c"), (3, 8, 9), "uint8", (0.0, 255.0)),
        ModelCard("tiny", ("a", "b", "c"), (3, 8, 8), "float32", (0.0, 1.0)),
        ModelCard("tiny", ("a", "b"), (3, 8, 8), "uint8", (0.0, 255.0)),
        ModelCard("tiny", ("a", "b", "c"), (3, 8, 8), "uint8", (0.0, 255.0), layout="NHWC"),
    ],
)
def test_a_card_that_does_not_fit_the_graph_is_refused(tiny_model, card):
    with pytest.raises(ModelError, match=r"m\.onnx: its card"):
        Classifier(tiny_model(card=card), "m.onnx")


def test_a_damaged_card_names_the_file(tiny_model):
    with pytest.raises(ModelError, match=r"m\.onnx: the model's card is damaged"):
        Classifier(tiny_model(metadata={"clf_edge.names": "["}), "m.onnx")


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx: the model cannot be read: No such file"):
        Classifier.load(tmp_path / "none.onnx")


def test_the_model_that_ships_loads_and_takes_uint8():
    classifier = Classifier.load()
    assert default_model().name == "conv.onnx"
    assert (classifier.card.dtype, classifier.card.image_shape) == ("uint8", (3, 32, 32))
    assert classifier.predict(np.zeros((32, 32, 3), np.uint8)).name in classifier.card.names


@pytest.mark.parametrize("gain", [np.nan, np.inf])
def test_answers_that_are_no_probabilities_are_refused(tiny_model, gain):
    model = onnx.load_from_string(tiny_model())
    [bad] = [i for i in model.graph.initializer if i.name == "gain"]
    bad.CopyFrom(onnx.numpy_helper.from_array(np.float32(gain), "gain"))
    with pytest.raises(ModelError, match="not a probability distribution"):
        Classifier(model.SerializeToString(), "m").predict(RED)


@pytest.fixture
def fails_on_black(tiny_model):
    """Make a model that answers a black image with NaN, or fails on it, and every other one as it should."""

    def make(how):
        model = onnx.load_from_string(tiny_model())
        nodes = model.graph.node
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "one"))
        if how == "NaN":  # 0 / 0, since it divides by the brightness
            nodes.insert(2, onnx.helper.make_node("ReduceSum", ["mean", "one"], ["total"], keepdims=1))
            nodes.insert(3, onnx.helper.make_node("Div", ["mean", "total"], ["share"]))
            nodes[4].input[0] = "share"
        else:  # looks up place 0 for an image with light in it, and place 1, of which there is none, for others
            table = onnx.numpy_helper.from_array(np.zeros((1, 3), np.float32), "table")
            half = onnx.numpy_helper.from_array(np.float32(0.5), "half")
            model.graph.initializer.extend([table, half])
            nodes.insert(2, onnx.helper.make_node("ReduceMax", ["mean", "one"], ["most"], keepdims=0))
            nodes.insert(3, onnx.helper.make_node("Less", ["most", "half"], ["is_black"]))
            nodes.insert(4, onnx.helper.make_node("Cast", ["is_black"], ["place"], to=onnx.TensorProto.INT64))
            nodes.insert(5, onnx.helper.make_node("Gather", ["table", "place"], ["nothing"]))
            nodes.insert(6, onnx.helper.make_node("Add", ["mean", "nothing"], ["sum"]))
            nodes[7].input[0] = "sum"
        return Classifier(model.SerializeToString(), "m.onnx")

    return make


@pytest.mark.parametrize(
    ("how", "says"),
    [("NaN", "the model's output is not a probability distribution"), ("fails", "the model failed on a batch of 1")],
)
def test_an_image_without_an_answer_costs_itself_only(fails_on_black, tmp_path, how, says):
    classifier, black = fails_on_black(how), (7, 299, 300)
    batch = np.stack([RED, BLUE] * 200)
    batch[list(black)] = 0
    np.save(tmp_path / "x.npy", batch)
    answers = list(answer_files(classifier, [tmp_path / "x.npy"]))
    assert [a.index for a in answers] == list(range(400))
    bad = {a.index: a.error for a in answers if a.error}
    assert list(bad) == list(black)
    for i, error in bad.items():
        assert isinstance(error, ModelError)
        assert str(error).startswith(f"{tmp_path}/x.npy[{i}]: m.onnx: {says}")
    right = [(i, a.prediction.name) for i, a in enumerate(answers) if a.prediction]
    assert right == [(i, ("red", "blue")[i % 2]) for i in range(400) if i not in black]
    stream = io.BytesIO((tmp_path / "x.npy").read_bytes())
    np.save(one := io.BytesIO(), RED)
    answers = list(answer_stream(classifier, io.BytesIO(stream.getvalue() + one.getvalue())))
    assert [a.index for a in answers if a.error] == list(black)
    assert (answers[-1].image, answers[-1].prediction.name) == ("-[1]", "red")


def test_a_batch_with_an_image_without_an_answer_raises_and_names_it(fails_on_black):
    classifier = fails_on_black("NaN")
    batch = np.stack([RED] * 400)
    batch[299] = 0
    for images in (batch, list(batch)):
        with pytest.raises(ModelError, match=r"^m\.onnx: the model's output for images\[299\] is not a probab"):
            classifier.predict_batch(images)
    with pytest.raises(ModelError, match=r"^m\.onnx: the model's output is not a probab"):
        classifier.predict(batch[299])


def test_predictions_are_equal_by_all_but_their_distributions_and_have_no_order(tiny_file):
    classifier = Classifier.load(tiny_file)
    one, other = (classifier.predict(RED, distribution=True) for _ in range(2))
    plain, blue = classifier.predict(RED), classifier.predict(BLUE, distribution=True)
    assert one == other == plain
    assert not one != other  # noqa: SIM202 - it is the operator that is tested
    assert not one != plain  # noqa: SIM202
    assert one != blue
    assert one != tuple(one)
    assert tuple(one) != one
    assert len({one, other, plain, blue}) == 2
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        with pytest.raises(TypeError, match="predictions have no order: sort by a field"):
            compare(one, blue)
    batch = classifier.predict_batch(np.stack([RED, BLUE]), distribution=True)
    assert batch == [one, blue]
    assert batch != [blue, one]
    assert max(batch, key=lambda p: p.probability) in (one, blue)


def test_weights_in_another_file_are_never_opened(tiny_model, tmp_path, monkeypatch):
    model = onnx.load_from_string(tiny_model())
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    assert (tmp_path / "w.bin").exists()
    with pytest.raises(ModelError, match="external data"):
        Classifier.load(tmp_path / "m.onnx")


def test_an_output_that_is_no_number_is_refused(tiny_model):
    model = onnx.load_from_string(tiny_model(card=None, softmax=False))
    model.graph.node.append(onnx.helper.make_node("Greater", ["mean", "gain"], ["is"]))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("is", onnx.TensorProto.BOOL, ["batch", 3]))
    with pytest.raises(ModelError, match="not floats"):
        Classifier(model.SerializeToString(), "m")


@pytest.mark.parametrize("image", ["a\0b.npy", [[1], [1, 2]], "x" * 5000, object()])
def test_what_is_no_image_is_an_image_error(tiny_file, image):
    with pytest.raises(ImageError):
        Classifier.load(tiny_file).predict(image)


def test_a_bad_image_of_several_is_named(tiny_file):
    with pytest.raises(ImageError, match=r"images\[1\]: shape 2"):
        Classifier.load(tiny_file).predict_batch([RED, np.zeros(2)])


def test_a_path_that_cannot_be_is_a_model_error():
    with pytest.raises(ModelError, match="cannot be read"):
        Classifier.load("a\0b.onnx")


@pytest.mark.parametrize("dtype", ["FLOAT16", "DOUBLE"])
def test_probabilities_of_another_dtype_become_float32_in_batches_of_any_size(tiny_model, dtype):
    model = onnx.load_from_string(tiny_model(card=None))
    code = getattr(onnx.TensorProto, dtype)
    model.graph.node.append(onnx.helper.make_node("Cast", ["probabilities"], ["other"], to=code))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("other", code, ["batch", 3]))
    classifier = Classifier(model.SerializeToString(), "m")
    images = np.random.default_rng(0).integers(0, 256, (200, 3, 8, 8), np.uint8)
    for count in (1, 200):
        assert classifier.predict_batch(images[:count]).probabilities.dtype == np.float32
    assert classifier.predict(images[0], distribution=True).distribution.dtype == np.float32
