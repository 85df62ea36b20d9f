"""A model without a card: what its user says of it, and the refusal where what matters is not said."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clf_runtime import Assumptions, Classifier, ModelError
from clf_runtime.commands.bench import main as bench_main
from clf_runtime.commands.eval import main as eval_main
from clf_runtime.commands.predict import main
from clf_runtime.errors import UsageError
from clf_runtime.model.assumptions import parse_assumptions

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = f"range=0..1 mean={','.join(map(str, MEAN))} std={','.join(map(str, STD))}"
RED = np.zeros((3, 8, 8), np.uint8)
RED[0] = 255
BLUE = RED[::-1]


def normalised_net(layout="NCHW", head="Softmax"):
    """A net that takes normalised floats and scores each channel by its mean, less what zeros would give."""
    axes, shape = ([2, 3], ["n", 3, 8, 8]) if layout == "NCHW" else ([1, 2], ["n", 8, 8, 3])
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["seen"]),  # the channels in 0..1, if they came normalised
        helper.make_node("Mul", ["seen", "gain"], ["scores"]),
        helper.make_node(head, ["scores"], ["out"]),
    ]
    constants = {"std": STD, "offset": MEAN, "gain": 5.0}
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.array(axes, np.int64), "axes"),
            *(numpy_helper.from_array(np.array(v, np.float32), name) for name, v in constants.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_what_is_said_is_done_to_the_images(layout):
    assume = Assumptions(value_range=(0, 1), mean=MEAN, std=STD, names=("r", "g", "b"))
    classifier = Classifier(normalised_net(layout), "m.onnx", assume=assume)
    scores = np.exp([5.0, 0, 0]) / np.exp([5.0, 0, 0]).sum()  # of red as it is, in 0..1
    for image in (RED, RED / 255.0, RED.transpose(1, 2, 0)):
        prediction = classifier.predict(image, distribution=True)
        assert prediction.name == "r"
        np.testing.assert_allclose(prediction.distribution, scores, atol=1e-6)
    batch = classifier.predict_batch(np.stack([RED, BLUE]))
    assert [p.name for p in batch] == ["r", "b"]
    assert "float32 in 0..1, RGB, normalised by mean 0.485 0.456 0.406 and std 0.229" in classifier.notes[0]


def test_bgr_is_turned_around_before_it_is_normalised():
    assume = Assumptions(value_range=(0, 1), mean=MEAN, std=STD, channels="BGR")
    classifier = Classifier(normalised_net(), "m.onnx", assume=assume)
    assert [p.index for p in classifier.predict_batch(np.stack([RED, BLUE]))] == [2, 0]
    assert "BGR" in classifier.notes[0]


def test_bgr_is_for_uint8_too(tiny_model):
    classifier = Classifier(tiny_model(card=None), "m.onnx", assume=Assumptions(channels="BGR"))
    assert [classifier.predict(image).index for image in (RED, BLUE)] == [2, 0]


def test_one_number_stands_for_all_channels(tiny_model):
    assume = Assumptions(value_range=(0, 255), mean=(127.5,), std=(127.5,))
    classifier = Classifier(tiny_model(card=None, dtype="float32"), "m", assume=assume)
    expected = np.exp([10.0, -10, -10]) / np.exp([10.0, -10, -10]).sum()
    np.testing.assert_allclose(classifier.predict(RED, distribution=True).distribution, expected, atol=1e-6)


def test_values_that_are_not_known_are_asked_for_in_one_line():
    with pytest.raises(ModelError, match=r"m\.onnx: has no model card, so state the values that it takes") as raised:
        Classifier(normalised_net(), "m.onnx")
    assert "\n" not in str(raised.value)
    assert "--assume range=0..1 for unnormalised values" in str(raised.value)
    assert f"--assume '{IMAGENET}' for ImageNet's" in str(raised.value)
    assert "assume=Assumptions(...)" in str(raised.value)
    assert "clf-export --onnx FILE makes a clf-edge model" in str(raised.value)
    with pytest.raises(ModelError, match="the values that it takes"):
        Classifier(normalised_net(), "m.onnx", assume=Assumptions(names=("r", "g", "b")))


@pytest.mark.parametrize("size", [(8, 3), (8, 4), (8, 1)])
def test_an_axis_that_may_or_may_not_be_the_channels_is_asked_for(tiny_model, size):
    model = tiny_model(card=None, size=size)
    with pytest.raises(ModelError, match=r"which axis of 3x8x\d is the channels \(layout=NCHW or layout=NHWC\)"):
        Classifier(model, "m.onnx")
    with pytest.raises(ModelError, match="which axis"):
        Classifier(model, "m.onnx", assume=Assumptions(names=("a", "b", "c")))
    assert Classifier(model, "m.onnx", assume=Assumptions(layout="NCHW")).card.image_shape == (3, *size)


def test_everything_that_is_missing_stands_in_one_line(tiny_model):
    with pytest.raises(ModelError, match=r"which axis of 3x8x3 is the channels .*, and the values that it takes"):
        Classifier(tiny_model(card=None, dtype="float32", size=(8, 3)), "m.onnx")


def test_outputs_are_looked_at_on_more_than_one_image(tiny_model):
    """What a net gives for one image may sum to 1 by chance."""
    model = onnx.load_from_string(tiny_model(card=None, softmax=False))
    [gain] = [i for i in model.graph.initializer if i.name == "gain"]
    noise = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)  # the one image that was looked at once
    image = (noise * 255).astype(np.uint8)
    gain.CopyFrom(numpy_helper.from_array(np.float32(1 / image.mean(axis=(2, 3)).sum()), "gain"))
    with pytest.raises(ModelError, match="whether its outputs"):
        Classifier(model.SerializeToString(), "m.onnx")


def test_outputs_that_may_be_sigmoids_are_asked_about():
    model = normalised_net(head="Sigmoid")
    with pytest.raises(ModelError, match=r"whether its outputs, in 0\.\.1 but not of sum 1, need a softmax"):
        Classifier(model, "m.onnx", assume=Assumptions(value_range=(0, 1)))
    classifier = Classifier(model, "m.onnx", assume=Assumptions(value_range=(0, 1), output="logits"))
    assert "its outputs are stated to be logits, so a softmax is applied" in classifier.notes
    plain = Classifier(model, "m.onnx", assume=Assumptions(value_range=(0, 1), output="probabilities"))
    with pytest.raises(ModelError, match="not a probability distribution"):
        plain.predict(RED)


@pytest.mark.parametrize(
    ("dtype", "assume", "says"),
    [
        ("uint8", Assumptions(mean=(1.0,)), "takes uint8 in 0..255, so range, mean and std"),
        ("uint8", Assumptions(value_range=(0, 1)), "takes uint8 in 0..255, so range, mean and std"),
        (
            "float32",
            Assumptions(value_range=(0, 1), std=(1.0, 2.0)),
            "2 numbers are assumed as std, but it takes 3 channels",
        ),
        ("float32", Assumptions(value_range=(0, 1), names=("a", "b")), "2 names are assumed, but it has 3 classes"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(tiny_model, dtype, assume, says):
    with pytest.raises(ModelError, match=says):
        Classifier(tiny_model(card=None, dtype=dtype), "m.onnx", assume=assume)


def test_nothing_is_assumed_of_a_model_with_a_card(tiny_model):
    with pytest.raises(ModelError, match=r"m\.onnx: has a model card, so nothing needs to be assumed"):
        Classifier(tiny_model(), "m.onnx", assume=Assumptions(names=("a", "b", "c")))


def test_words_are_read(tmp_path):
    assert parse_assumptions(IMAGENET) == Assumptions(value_range=(0, 1), mean=MEAN, std=STD)
    assert parse_assumptions("range=-1..1 std=2") == Assumptions(value_range=(-1, 1), std=(2,))
    file = tmp_path / "class names.txt"
    file.write_text("\ufeffice cream\nb \n", "utf-8")
    assert parse_assumptions(f"names='{file}'").names == ("ice cream", "b")
    said = parse_assumptions("names='ice cream,b' layout=NHWC channels=BGR output=logits")
    assert said == Assumptions(names=("ice cream", "b"), layout="NHWC", channels="BGR", output="logits")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; valid are range=LOW..HIGH"),
        ("0..1", "unknown item '0..1'; valid are range=LOW..HIGH"),
        ("colour=BGR", "unknown item 'colour=BGR'"),
        ("range=0..1 range=0..1", "range is given twice"),
        ("range=0-1", "invalid range in 'range=0-1'"),
        ("range=1..0", "range must be (low, high) with low < high"),
        ("range=0..inf", "range must be (low, high) with low < high"),
        ("mean=a,b,c", "invalid mean in 'mean=a,b,c'"),
        ("std=0", "std positive"),
        ("mean=nan", "must be numbers"),
        ("layout=CHW", "layout must be NCHW or NHWC, not 'CHW'"),
        ("channels=", "channels must be RGB or BGR, not ''"),
        ("names=none.txt", "names=none.txt: no such file"),
        ("names=a,a", "duplicate class name 'a'"),
        ("names='a", "No closing quotation"),
        ("value_range=0..1", "unknown item"),
    ],
)
def test_words_that_say_nothing_clear_are_refused_in_one_line(text, says):
    with pytest.raises(UsageError) as raised:
        parse_assumptions(text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture
def foreign(tmp_path):
    (tmp_path / "m.onnx").write_bytes(normalised_net())
    return tmp_path / "m.onnx"


def test_the_commands_take_it(command, foreign, tmp_path):
    np.save(tmp_path / "red.npy", RED)
    labels = np.array([0, 2])
    np.savez(tmp_path / "set.npz", images=np.stack([RED, BLUE]), labels=labels)
    for run, arguments in (
        (main, [tmp_path / "red.npy", "--model", foreign]),
        (eval_main, [foreign, tmp_path / "set.npz"]),
        (bench_main, [foreign, "--seconds", "0.1"]),
    ):
        ended = command(run, *arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert "has no model card, so state the values that it takes" in ended.err
    ended = command(main, tmp_path / "red.npy", "--model", foreign, "--json", "--assume", IMAGENET + " names=r,g,b")
    assert (ended.code, json.loads(ended.out)["name"]) == (0, "r")
    ended = command(eval_main, foreign, tmp_path / "set.npz", "--json", "--assume", IMAGENET)
    assert (ended.code, json.loads(ended.out)["accuracy"]) == (0, 1.0)
    ended = command(main, tmp_path / "red.npy", "--model", foreign, "--assume", "range")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert ended.err.endswith("See clf-predict --help.\n")


def test_a_benchmark_s_fresh_processes_assume_the_same(command, foreign):
    ended = command(bench_main, foreign, "--seconds", "0.1", "--json", "--assume", IMAGENET + " names=r,g,b")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["cold_start"]["repeats"] == 5
