import math

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from clf_export.int8 import verdict
from clf_export.int8.verdict import Judgement, Verdict, judge, processor_difference, speed_ratio


def answers(predicted, classes):
    """Probabilities, float32 [N, K], whose likeliest class is the predicted one."""
    return (np.eye(classes, dtype=np.float32)[predicted] * 0.5 + 0.5 / classes).astype(np.float32)


def judged(sizes, lost, won):
    """Judge nets on sizes[k] images of class k, of which lost[k] are right in float only and won[k] in int8 only."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    wrong = (labels + 1) % len(sizes)
    before, after = labels.copy(), labels.copy()
    for k, (n, m) in enumerate(zip(lost, won, strict=True)):
        rows = np.flatnonzero(labels == k)
        after[rows[:n]] = wrong[rows[:n]]
        before[rows[n : n + m]] = wrong[rows[n : n + m]]
    return judge(answers(before, len(sizes)), answers(after, len(sizes)), labels)


def test_the_same_answers_pass():
    judgement = judged([50, 50], [0, 0], [0, 0])
    assert judgement.passed
    assert (judgement.drop, judgement.worst_drop, judgement.differing) == (0, 0, 0)
    assert judgement.p_value is None
    assert not judgement.undecided


def test_figures_are_counted_in_pairs():
    judgement = judged([100, 100, 200], [4, 0, 4], [0, 2, 0])
    assert judgement.images == 400
    assert judgement.float_accuracy == pytest.approx(398 / 400)
    assert judgement.int8_accuracy == pytest.approx(392 / 400)
    assert judgement.drop == pytest.approx(1.5)
    assert (judgement.worst_class, judgement.worst_drop) == (0, 4.0)
    assert judgement.differing == pytest.approx(10 / 400)
    assert judgement.p_value == pytest.approx((45 + 10 + 1) / 1024)  # 8 or more heads of 10 tosses


THOUSANDS = [1000] * 10


@pytest.mark.parametrize(
    ("sizes", "lost", "won", "problem"),
    [
        ([5000] * 2, [25] * 2, [0] * 2, None),  # 0.5 points, not more
        (THOUSANDS, [20] * 5 + [0] * 5, [0] * 10, "the accuracy drops by 1.00 points (at most 0.5 allowed)"),
        (THOUSANDS, [6] * 10, [0] * 10, "the accuracy drops by 0.60 points (at most 0.5 allowed)"),
        (THOUSANDS, [0] * 9 + [25], [0] * 10, "the recall of class 9 drops by 2.50 points (at most 2 allowed)"),
        (THOUSANDS, [0] * 9 + [20], [0] * 10, None),
        (THOUSANDS, [100] * 10, [98] * 10, None),  # much change, no fall
    ],
)
def test_many_images_decide_by_the_bounds_alone(sizes, lost, won, problem):
    judgement = judged(sizes, lost, won)
    assert judgement.problem == problem
    assert judgement.passed is (problem is None)
    assert not judgement.undecided


def test_few_images_that_show_no_fall_pass_as_undecided():
    judgement = judged([100, 100], [3, 0], [0, 1])
    assert judgement.drop == pytest.approx(1)
    assert judgement.passed
    assert judgement.undecided


def test_few_images_that_show_a_fall_do_not_pass():
    judgement = judged([100, 100], [4, 4], [0, 0])
    assert judgement.problem == "the accuracy drops by 4.00 points, which is significant (p = 0.0039)"
    assert not judgement.undecided


def test_a_fall_in_one_class_counts_against_the_number_of_classes():
    """Six lost of six has p 1/64: below 5 % in two classes, not in ten. Wins elsewhere keep the whole level."""
    two = judged([50, 50], [6, 0], [0, 5])
    assert two.problem == "the recall of class 0 drops by 12.00 points, which is significant (p = 0.016)"
    ten = judged([50] * 10, [6] + [0] * 9, [0] * 9 + [5])
    assert ten.passed
    assert ten.undecided


def test_a_class_without_images_is_left_out():
    labels = np.array([0, 0, 2])
    judgement = judge(answers(labels, 3), answers(np.array([0, 0, 0]), 3), labels)
    assert (judgement.worst_class, judgement.worst_drop) == (2, 100.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_no_numbers_are_refused(value):
    good = answers(np.array([0, 1]), 2)
    bad = good.copy()
    bad[1, 0] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        judge(good, bad, np.array([0, 1]))
    with pytest.raises(ValueError, match="shapes"):
        judge(good, good[:1], np.array([0, 1]))
    with pytest.raises(ValueError, match="for 0 images"):
        judge(good[:0], good[:0], np.array([], np.int64))


def make(**changes):
    judgement = Judgement(
        changes.pop("images", 2500), 0.75, 0.749, 3, 1.2, 0.4, 0.02, changes.pop("undecided", False), None
    )
    figures = {
        "setting": "any",
        "judgement": judgement,
        "unseen": True,
        "problem": None,
        "processor_difference": 1e-6,
        "size": 250,
        "float_size": 1000,
        "batch_1_ratio": 1.5,
        "batch_256_ratio": 1.4,
    }
    return Verdict(**(figures | changes))


@pytest.mark.parametrize(
    ("changes", "recommended", "says"),
    [
        (
            {},
            True,
            "int8 is recommended: accuracy 74.90 % (73.1 to 76.5 %, 2,500 images), float32 75.00 %, 25% of the size, "
            "1.50 times float32's speed",
        ),
        ({"undecided": True}, True, "(within the sampling error of 2,500 images)"),
        ({"unseen": False}, True, "(on images that it was trained on)"),
        ({"batch_1_ratio": 0.7}, False, "float32 is recommended: int8 is slower; accuracy 74.90 %"),
        ({"batch_1_ratio": 0.99}, True, "int8 is recommended"),  # for its size
        (
            {"batch_1_ratio": 0.97, "size": 760},
            False,
            "float32 is recommended: int8 gains too little; accuracy 74.90 %",
        ),
        ({"batch_1_ratio": 1.2, "size": 900}, True, "int8 is recommended"),  # for its speed
        (
            {"images": 597},
            False,
            "float32 is recommended: 597 images are too few to compare accuracies, 598 are needed; accuracy 74.90 %",
        ),
        ({"images": 7, "undecided": True}, False, "7 images are too few to compare"),
        ({"images": 598}, True, "int8 is recommended"),
        ({"size": 1001}, False, "float32 is recommended: int8 is no smaller"),
        ({"problem": "the accuracy drops"}, False, "float32 is recommended: int8 is less accurate, the accuracy drops"),
    ],
)
def test_int8_is_recommended_only_if_it_is_shown_to_be_as_good_and_gains_something(changes, recommended, says):
    assert make(**changes).recommended is recommended
    assert says in make(**changes).reason()
    assert "\n" not in make(**changes).reason()


def dense_model(weight):
    """Softmax of a quantised product: uint8 images [batch, 1, 1, C], int8 weights [C, K], all scales 1."""
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["x"]),
        helper.make_node("DequantizeLinear", ["x", "one", "zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "one", "zero8"], ["wf"]),
        helper.make_node("MatMul", ["xf", "wf"], ["scores"]),
        helper.make_node("Mul", ["scores", "small"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["probabilities"], axis=1),
    ]
    constants = {
        "shape": np.array([0, -1]),
        "one": np.float32(1),
        "zero": np.uint8(0),
        "zero8": np.int8(0),
        "w": weight.astype(np.int8),
        "small": np.float32(1e-5),
    }
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 1, 1, len(weight)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", weight.shape[1]])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


WHITE = np.full((4, 1, 1, 64), 255, np.uint8)


def test_the_meaning_of_a_file_is_what_onnx_says_not_what_this_processor_does(monkeypatch):
    weight = np.zeros((64, 2))
    weight[:, 0] = 60  # seven bits: no processor overflows
    model = dense_model(weight)
    assert processor_difference(model, WHITE) < 1e-6
    meant = 1 / (1 + math.exp(-64 * 60 * 255 * 1e-5))
    monkeypatch.setattr(verdict, "run_onnx", lambda model, images: np.full((len(images), 2), 0.5))
    assert processor_difference(model, WHITE) == pytest.approx(meant - 0.5, abs=1e-6)
    monkeypatch.setattr(verdict, "run_onnx", lambda model, images: np.full((len(images), 2), np.nan))
    assert processor_difference(model, WHITE) == math.inf


def test_without_an_operator_in_the_reference_float_arithmetic_stands_in(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("No implementation for operator")

    monkeypatch.setattr("onnx.reference.ReferenceEvaluator", fail)
    weight = np.zeros((64, 2))
    weight[:, 0] = 60
    assert processor_difference(dense_model(weight), WHITE) < 1e-6
    monkeypatch.setattr(verdict, "run_onnx", lambda model, images: np.full((len(images), 2), 0.5))
    assert processor_difference(dense_model(weight), WHITE) > 0.4


def test_full_weights_overflow_in_pairs_where_the_processor_multiplies_so():
    """On x86 without VNNI 255 · 127 + 255 · 127 is cut off at 32,767; elsewhere it is not. Nothing else is right."""
    weight = np.zeros((64, 2))
    weight[:, 0] = 127
    difference = processor_difference(dense_model(weight), WHITE)
    exact, cut = 64 * 127 * 255e-5, 32 * 32767e-5
    expected = abs(1 / (1 + math.exp(-exact)) - 1 / (1 + math.exp(-cut)))
    assert difference == pytest.approx(0, abs=1e-6) or difference == pytest.approx(expected, rel=0.01)


def test_speed_is_the_median_of_pairs_that_take_turns(monkeypatch):
    clock, runs = [0.0], []

    class Engine:
        def __init__(self, model, where, device):
            self.model = model

        def run(self, batch):
            runs.append((self.model, batch.shape))
            burden = 10 if len(runs) % 7 == 0 else 1  # other work, now and then
            clock[0] += burden * (0.02 if self.model == b"float" else 0.005)

    monkeypatch.setattr(verdict, "open_engine", Engine)
    monkeypatch.setattr(verdict.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(verdict, "_clock", lambda: clock[0])
    ratio = speed_ratio(b"float", b"int8", np.zeros((3, 1, 2, 2), np.uint8), 8, 20.0)
    assert ratio == pytest.approx(4, rel=0.01)
    assert {shape for _, shape in runs} == {(8, 1, 2, 2)}
    models = [model for model, _ in runs[7:]]
    assert abs(models.count(b"float") - models.count(b"int8")) <= 1
