"""A familiarity fitted to an exported net: on the embedded digits, so that it must notice what is no digit."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clf_export import export_run
from clf_export.commands.export_text import export_lines
from clf_export.familiarity import fit, images
from clf_export.familiarity.features import FEATURES, with_features, with_few_features
from clf_export.familiarity.outputs import second_output
from clf_runtime import Classifier, ImageError
from clf_runtime.commands.describe import card_lines
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.evaluation.unknown import auroc

pytestmark = pytest.mark.usefixtures("translated_once")


@pytest.fixture(scope="module")
def exported(translated_once, make_run, tmp_path_factory):
    folder, dataset = make_run("conv")
    where = tmp_path_factory.mktemp("out")
    known = export_run(folder, dataset, where / "known.onnx").model
    without = export_run(folder, dataset, where / "without.onnx", familiarity="off").model
    return dataset, known, without


def test_probabilities_are_the_same_to_the_last_bit(exported):
    dataset, known, without = exported
    a, b = (Classifier.load(file.path, device="cpu") for file in (known, without))
    assert np.array_equal(a.probabilities(dataset.test.images), b.probabilities(dataset.test.images))
    assert a.predict(dataset.test.images[0]).familiarity is not None
    assert without.card.familiarity is None
    assert [o.name for o in onnx.load(without.path).graph.output] == ["probabilities"]
    graph = onnx.load(known.path).graph
    assert [o.name for o in graph.output] == ["probabilities", "familiarity"]
    # tract takes "familiarity.0" for an output of the node "familiarity", and refuses the file
    assert not [name for node in graph.node for name in node.output if re.fullmatch(r"familiarity\.\d+", name)]


def test_frames_and_scenes_are_less_familiar_than_digits(exported):
    dataset, known, _ = exported
    classifier = Classifier.load(known.path, device="cpu")
    random = np.random.default_rng(0)
    foreign = {
        "plain": np.repeat(random.integers(30, 226, (100, 3, 1, 1)), 32, 2).repeat(32, 3).astype(np.uint8),
        "noise": random.integers(0, 256, (100, 3, 32, 32), np.uint8),
    }
    familiar = classifier.predict_batch(dataset.test.images).familiarity
    assert (familiar < known.card.familiarity.threshold).mean() < 0.3  # the threshold is that of 72 images
    for made in foreign.values():
        found = classifier.predict_batch(made, reject="auto")
        assert auroc(familiar, found.familiarity) > 0.95
        assert (found.indices < 0).mean() > 0.8


def test_the_card_tells_of_it_and_the_last_golden_case_is_foreign(exported):
    _, known, _ = exported
    record = known.card.familiarity
    assert record.threshold == 0.05
    assert record.unseen
    assert (len(record.kinds), record.foreign) == (len(record.noticed), 1)
    control = known.card.control
    assert (control.images, len(control.kinds)) == (72, len(control.called_unknown))
    called = dict(zip(control.kinds, control.called_unknown, strict=True))
    assert called["coded as JPEG"] < 0.3 < called["smaller, on white"]  # what is made in another way is called unknown
    assert len(record.golden) == len(known.card.golden.probabilities) == 9
    classifier = Classifier.load(known.path, device="cpu")
    assert classifier.card == known.card
    assert self_test(classifier).passed


def test_damaged_weights_of_it_are_noticed(exported):
    _, known, _ = exported
    model = onnx.load(known.path)
    for tensor in model.graph.initializer:
        if tensor.name == "familiarity.share.weight":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    for entry in [entry for entry in model.metadata_props if entry.key == "clf_edge.crc32"]:
        model.metadata_props.remove(entry)
    result = self_test(Classifier(model.SerializeToString(), "damaged", device="cpu"))
    assert "familiarity of a golden case differs" in result.problem


def test_few_held_out_images_give_a_file_without_it_that_says_why(make_run, tmp_path, monkeypatch):
    folder, dataset = make_run("conv")
    monkeypatch.setattr(images, "LEAST_HELD_OUT", 1000)
    export = export_run(folder, dataset, tmp_path / "few.onnx")
    assert export.model.card.familiarity is None
    assert export.familiarity_problem == "72 held-out images are too few, 1000 are needed"


def test_features_that_tell_nothing_give_a_file_without_it(make_run, tmp_path, monkeypatch):
    folder, dataset = make_run("conv")
    monkeypatch.setattr(images, "_A_KIND", 40)
    monkeypatch.setattr(fit, "second_output", lambda model, images: np.zeros((len(images), 200), np.float32))
    export = export_run(folder, dataset, tmp_path / "same.onnx")
    assert export.familiarity_problem == "the held-out images are all equally familiar"
    assert [o.name for o in onnx.load(export.model.path).graph.output] == ["probabilities"]


def test_features_are_those_of_maps_and_vectors_behind_the_first_layer():
    """x → conv → relu → conv → relu → flatten → gemm → softmax: the first map, the map before flattening, logits."""
    random = np.random.default_rng(0)
    weights = {"a": (4, 3, 3, 3), "b": (5, 4, 3, 3), "c": (5 * 4 * 4, 3)}
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["one"]),
        helper.make_node("Relu", ["one"], ["first"]),
        helper.make_node("Conv", ["first", "b"], ["two"]),
        helper.make_node("Relu", ["two"], ["second"]),
        helper.make_node("Flatten", ["second"], ["flat"]),
        helper.make_node("MatMul", ["flat", "c"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(random.normal(size=size).astype(np.float32), name) for name, size in weights.items()],
    )
    made = with_features(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    onnx.checker.check_model(made, full_check=True)
    assert [o.name for o in made.graph.output] == ["probabilities", FEATURES]
    images = random.normal(size=(2, 3, 8, 8)).astype(np.float32)
    assert second_output(made.SerializeToString(), images).shape == (2, 4 + 5 + 3 + 1)
    pooled = [node.input[0] for node in made.graph.node if node.op_type == "GlobalAveragePool"]
    assert pooled == ["first", "second"]


def test_few_features_are_the_last_map_of_each_size_a_vector_and_the_largest_logit():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[batch, 3, 8, 8] image) => (float[batch, 2] probabilities)
        <float[4, 3, 1, 1] a, float[4, 4, 1, 1] b, float[5, 4, 2, 2] c, float[5, 5, 1, 1] d,
         float[80, 6] e, float[6, 7] f, float[7, 2] g> {
            one = Conv (image, a)
            two = Conv (one, b)
            three = Conv <strides = [2, 2]> (two, c)
            four = Conv (three, d)
            flat = Flatten (four)
            five = MatMul (flat, e)
            six = MatMul (five, f)
            logits = MatMul (six, g)
            probabilities = Softmax (logits)
        }""")
    random = np.random.default_rng(0)
    for value, shape in zip(
        "abcdefg", ((4, 3, 1, 1), (4, 4, 1, 1), (5, 4, 2, 2), (5, 5, 1, 1), (80, 6), (6, 7), (7, 2)), strict=True
    ):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), value))
    images = random.normal(size=(3, 3, 8, 8)).astype(np.float32)
    every = second_output(with_features(model).SerializeToString(), images)
    made, columns = with_few_features(model)
    few = second_output(made.SerializeToString(), images)
    assert every.shape == (3, 4 + 4 + 5 + 5 + 6 + 7 + 2 + 1)
    assert np.array_equal(few, every[:, columns])
    assert columns.tolist() == [4, 5, 6, 7, *range(18, 24), -1]  # the second map, the first vector of two


def test_examples_of_what_is_no_class_sharpen_the_threshold(make_run, exported, tmp_path):
    folder, dataset = make_run("conv")
    turned = np.ascontiguousarray(np.rot90(dataset.train.images[:300], axes=(2, 3)))
    np.save(tmp_path / "turned.npy", turned[:150])
    file = export_run(folder, dataset, tmp_path / "given.onnx", outliers=str(tmp_path / "turned.npy")).model
    record = file.card.familiarity
    assert (record.given, record.examples) == (37, 113)
    assert record.kinds == exported[1].card.familiarity.kinds
    assert record.given_noticed > 0.9
    assert record.threshold < 0.05  # digits that lie are told apart so well that fewer known images need be unknown
    classifier = Classifier.load(file.path, device="cpu")
    assert (classifier.predict_batch(turned[150:]).familiarity < record.threshold).mean() > 0.9
    assert self_test(classifier).passed


def test_of_few_examples_it_is_said_that_they_are_used_and_not_measured(make_run, tmp_path):
    folder, dataset = make_run("conv")
    np.save(tmp_path / "few.npy", np.rot90(dataset.train.images[:30], axes=(2, 3)))
    made = export_run(folder, dataset, tmp_path / "few.onnx", outliers=str(tmp_path / "few.npy"))
    said = "examples of no class             30 learnt; what they did is not measured, which takes 40 or more"
    assert said in "\n".join(export_lines(made))
    [line] = [line for line in card_lines(Classifier.load(made.model.path)) if line.startswith("familiarity")]
    assert "by 72 held-out images and 30 examples of no class, too few of them to measure by; below 0.05" in line


@pytest.mark.parametrize("familiarity", ["auto", "off"])
def test_examples_that_are_not_used_are_told_of(make_run, tmp_path, monkeypatch, familiarity):
    folder, dataset = make_run("conv")
    monkeypatch.setattr(images, "LEAST_HELD_OUT", 1000)
    dataset = replace(dataset, outliers=dataset.train.images[:7])
    made = export_run(folder, dataset, tmp_path / "unused.onnx", familiarity=familiarity)
    assert "examples of no class             7, not used: there is no familiarity" in "\n".join(export_lines(made))


def test_an_example_that_cannot_be_read_is_named(make_run, tmp_path):
    folder, dataset = make_run("conv")
    np.save(tmp_path / "odd.npy", np.zeros((3, 2, 32, 32), np.uint8))
    with pytest.raises(ImageError, match=r"odd\.npy: .*32"):
        export_run(folder, dataset, tmp_path / "given.onnx", outliers=str(tmp_path / "odd.npy"))
    assert not (tmp_path / "given.onnx").exists()


def test_what_has_a_row_for_each_token_is_no_feature():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[batch, 6, 4] image) => (float[batch, 2] probabilities)
        <float[4, 4] w1, float[4, 4] w2, float[4, 2] w3, int64[2] tokens = {-1, 4}, int64[3] back = {-1, 6, 4}> {
            rows = Reshape (image, tokens)
            first = MatMul (rows, w1)
            second = MatMul (first, w2)
            images = Reshape (second, back)
            mean = ReduceMean <keepdims = 0> (images, axis)
            logits = MatMul (mean, w3)
            probabilities = Softmax (logits)
        }""")
    random = np.random.default_rng(0)
    for name, shape in (("w1", (4, 4)), ("w2", (4, 4)), ("w3", (4, 2))):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    featured = with_features(model)
    found = second_output(featured.SerializeToString(), random.normal(size=(5, 6, 4)).astype(np.float32))
    assert found.shape == (5, 4 + 2 + 1)  # the mean, the logits, and the largest of these
