import dataclasses
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clf_export import quantize
from clf_export.errors import QuantisationError
from clf_export.held_out import choose_images
from clf_export.ordering import put_in_order
from clf_export.parity import run_onnx
from clf_export.qdq import EXACT, PLACEMENTS, Setting, kept_in_float, to_int8, watched_tensors
from clf_export.quantize import Trial, quantise
from clf_export.ranges import METHODS, find_ranges
from clf_export.verdict import Judgement
from clf_runtime.session import open_session
from clf_train import read_run, read_source
from clf_train.preparation import hold_out
from clf_train.recipe import change

CLASSES = 4


def small_net(dtype="uint8", dense=64):
    """Uint8 or float images [batch, 3, 12, 12] → conv, maximum, ReLU, dense, ReLU, dense, softmax; random weights."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
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
        "w3": random.normal(size=(dense, CLASSES)),
    }
    graph = helper.make_graph(
        nodes,
        "clf-edge",
        [helper.make_tensor_value_info(image, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["batch", 3, 12, 12])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"secret": "of the float model"})
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (900, 3, 12, 12), dtype=np.uint8)


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture(scope="module")
def ordered(net):
    return put_in_order(net)


@pytest.fixture(scope="module")
def ranges(ordered, images):
    return find_ranges(ordered, watched_tensors(ordered), images[:200])


@pytest.fixture(scope="module")
def labels(net, images):
    """What the float net itself says, but for one image in ten."""
    labels = run_onnx(net.SerializeToString(), images).argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % CLASSES
    return labels


@pytest.fixture
def hurried(monkeypatch):
    """A choice among fewer settings, without what takes time and is tested elsewhere."""
    monkeypatch.setattr(quantize, "PLACEMENTS", ("all",))
    monkeypatch.setattr(quantize, "processor_difference", lambda model, images: 0.0)
    monkeypatch.setattr(quantize, "speed_ratio", lambda *arguments: 2.0)


def test_putting_in_order_changes_no_answer(net, ordered, images):
    assert np.array_equal(run_onnx(net.SerializeToString(), images), run_onnx(ordered.SerializeToString(), images))
    assert [n.op_type for n in ordered.graph.node][:4] == ["Cast", "Conv", "Relu", "MaxPool"]
    assert len({node.name for node in ordered.graph.node}) == 9
    assert not ordered.metadata_props
    assert [n.op_type for n in net.graph.node][:4] == ["Cast", "Conv", "MaxPool", "Relu"]


def test_ranges_are_of_all_images_and_hold_zero(ordered, images, ranges):
    model = onnx.ModelProto()
    model.CopyFrom(ordered)
    model.graph.output.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, None))
    relu = open_session(model.SerializeToString(), "", device="cpu").ort.run(["m"], {"image": images[:200]})[0]
    assert set(ranges) == set(METHODS)
    assert ranges["minmax"]["m"] == (0.0, pytest.approx(float(relu.max())))
    assert ranges["minmax"]["g"][0] < 0 < ranges["minmax"]["g"][1]
    for method in METHODS:
        for tensor, (low, high) in ranges[method].items():
            assert ranges["minmax"][tensor][0] <= low <= 0 <= high <= ranges["minmax"][tensor][1], (method, tensor)
    share = ((relu >= ranges["percentile"]["m"][0]) & (relu <= ranges["percentile"]["m"][1])).mean()
    assert 0.999 < share < 1
    assert ranges["entropy"] != ranges["minmax"]


def test_values_that_are_no_numbers_are_refused(images):
    model = small_net("float32")
    bad = np.zeros((3, 3, 12, 12), np.float32)
    bad[2, 0, 0, 0] = np.nan
    ordered = put_in_order(model)
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        find_ranges(ordered, watched_tensors(ordered), bad)


@pytest.mark.parametrize("placement", PLACEMENTS[:-1])
@pytest.mark.parametrize("scheme", ["U8S8 reduced", "U8U8", "U8S8", "S8S8", "weights only"])
def test_an_int8_file_takes_and_gives_what_the_float_file_does(net, ordered, ranges, images, scheme, placement):
    data = to_int8(ordered, Setting(scheme, True, "minmax", placement), ranges["minmax"])
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert list(model.graph.input) == list(net.graph.input)
    assert list(model.graph.output) == list(net.graph.output)
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (8, [("", 18)])
    assert not model.metadata_props
    assert not model.graph.value_info
    assert not any(thing.doc_string for thing in (model, model.graph, *model.graph.node))
    assert b"onnx.quantize" not in data
    widths = {i.name: i.data_type for i in model.graph.initializer if np.prod(i.dims) > 1000}
    assert set(widths.values()) == {TensorProto.UINT8 if scheme == "U8U8" else TensorProto.INT8}
    difference = np.abs(run_onnx(data, images) - run_onnx(net.SerializeToString(), images))
    assert difference.max() > 0
    if scheme in EXACT:
        assert difference.max() < 0.2
        assert difference.mean() < 0.02


def test_layers_kept_in_float_are(ordered, ranges):
    def types(placement, scheme="U8U8"):
        model = onnx.load_from_string(to_int8(ordered, Setting(scheme, False, "minmax", placement), ranges["minmax"]))
        if scheme == "weights only":
            return sorted(i.name for i in model.graph.initializer if i.data_type == TensorProto.INT8)
        return [i.data_type for i in sorted(model.graph.initializer, key=lambda i: i.name) if len(i.dims) > 1]

    eight, float32 = TensorProto.UINT8, TensorProto.FLOAT
    assert types("all") == [eight, eight, eight]
    assert types("first in float") == [float32, eight, eight]
    assert types("last in float") == [eight, eight, float32]
    assert types("first and last in float") == [float32, eight, float32]
    assert types("first in float", "weights only") == ["w2_int8", "w3_int8"]
    assert kept_in_float(ordered, "dense only") is None  # is `first in float`
    assert kept_in_float(put_in_order(small_net(dense=1)), "first in float") is None  # keeps more than half


def test_softmax_and_scores_stay_in_float_and_bytes_go_in_as_they_are(ordered, ranges):
    data = to_int8(ordered, Setting("U8S8 reduced", True, "minmax", "all"), ranges["minmax"])
    nodes = onnx.load_from_string(data).graph.node
    assert nodes[-1].op_type == "Softmax"
    assert nodes[-1].input[0] == "scores"
    assert next(n for n in nodes if "scores" in n.output).op_type == "MatMul"
    assert next(n for n in nodes if "image" in n.input).op_type == "DequantizeLinear"
    assert not [n for n in nodes if n.op_type in ("Cast", "Relu")]


def test_dark_images_still_go_in_as_they_are(ordered, images):
    """The range of bytes is 0..255, whatever the calibration images hold."""
    ranges = find_ranges(ordered, watched_tensors(ordered), images[:200] // 3)
    nodes = onnx.load_from_string(to_int8(ordered, Setting("U8U8", True, "minmax", "all"), ranges["minmax"])).graph.node
    assert next(n for n in nodes if "image" in n.input).op_type == "DequantizeLinear"


@pytest.mark.parametrize(
    ("scheme", "order"),
    [("U8S8 reduced", ["Conv", "MaxPool", "Relu"]), ("weights only", ["Conv", "Relu", "MaxPool", "Relu"])],
)
def test_a_pool_of_floats_comes_before_its_relu_if_it_is_then_quantised(ordered, ranges, scheme, order):
    data = to_int8(ordered, Setting(scheme, True, "minmax", "first in float"), ranges["minmax"])
    assert [n.op_type for n in onnx.load_from_string(data).graph.node if n.op_type in order] == order


def test_float_images_are_quantised(images):
    model = small_net("float32")
    floats = images.astype(np.float32) / 255
    ordered = put_in_order(model)
    ranges = find_ranges(ordered, watched_tensors(ordered), floats[:200])
    data = to_int8(ordered, Setting("U8S8 reduced", True, "percentile", "all"), ranges["percentile"])
    assert np.abs(run_onnx(data, floats) - run_onnx(model.SerializeToString(), floats)).mean() < 0.02


def test_the_same_setting_gives_the_same_bytes_in_every_process(tmp_path, ordered, ranges):
    (tmp_path / "ordered.onnx").write_bytes(ordered.SerializeToString())
    setting = Setting("U8S8 reduced", True, "minmax", "all")
    program = (
        "import hashlib, onnx, sys\n"
        "from clf_export.qdq import Setting, to_int8\n"
        "model = onnx.load(sys.argv[1])\n"
        f"data = to_int8(model, {setting!r}, {ranges['minmax']!r})\n"
        "print(hashlib.sha256(data).hexdigest())\n"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "ordered.onnx")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_the_verdict_is_of_the_file_that_is_given(net, images, labels, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(quantize, "_SECONDS", 0.01)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = net.SerializeToString()
    told = []
    made = quantise(model, images[:200], images[200:], labels[200:], watch=told.append)
    verdict = made.verdict
    assert (verdict.size, verdict.float_size) == (len(made.model), len(model))
    assert verdict.size < verdict.float_size / 2
    answers = run_onnx(made.model, images[200:]).argmax(axis=1)
    assert verdict.judgement.images == 700
    assert verdict.judgement.int8_accuracy == (answers == labels[200:]).mean()
    assert verdict.judgement.float_accuracy == pytest.approx(0.9)
    assert verdict.passed
    assert verdict.processor_difference < 0.03
    assert verdict.batch_1_ratio > 0
    assert verdict.batch_256_ratio > 0
    chosen = next(trial for trial in made.tried if str(trial.setting) == verdict.setting)
    assert chosen.batch_1_ratio == verdict.batch_1_ratio
    assert chosen.setting.scheme in EXACT
    placements = [p for p in PLACEMENTS if kept_in_float(put_in_order(net), p) is not None]
    assert len(made.tried) == len({trial.setting for trial in made.tried}) == 11 * len(placements)
    assert {trial.setting.method for trial in made.tried} == set(METHODS)
    assert len(told) == len(made.tried) + 2
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def trial(differing, size, ratio, undecided=False):
    judgement = Judgement(2500, 0.75, 0.75, 0, 0.0, None, differing, undecided, None)
    setting = Setting("U8U8", True, "minmax", "all")
    return Trial(setting, None, judgement, 0.0, size, ratio)


NEAR, BEST, FAR = trial(0.0200, 100, 2.0), trial(0.0185, 120, 2.0), trial(0.0500, 50, 2.0)


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ([BEST, NEAR, FAR], NEAR),  # as near as can be told, and smaller
        ([BEST, FAR], BEST),
        ([trial(0.001, 50, 2.0, undecided=True), BEST], BEST),
        ([trial(0.001, 100, 1.7), FAR], FAR),  # much faster
        ([trial(0.001, 100, 1.85), FAR], trial(0.001, 100, 1.85)),
        ([trial(0.001, 50, 0.95), trial(0.05, 100, 1.0)], trial(0.05, 100, 1.0)),  # as fast as float
        ([trial(0.001, 50, 0.85), trial(0.05, 100, 0.9)], trial(0.001, 50, 0.85)),
    ],
)
def test_the_smallest_of_those_nearest_to_float_of_the_nearly_fastest_is_chosen(trials, chosen):
    assert quantize._choose(trials) == chosen
    assert quantize._choose(trials[::-1]) == chosen


def test_a_slower_file_is_not_recommended(net, images, labels, hurried, monkeypatch):
    monkeypatch.setattr(quantize, "speed_ratio", lambda *arguments: 0.7)
    verdict = quantise(net.SerializeToString(), images[:200], images[200:], labels[200:]).verdict
    assert verdict.passed
    assert not verdict.recommended
    assert "int8 is slower, 0.70 times as fast" in verdict.reason()


def test_what_overflows_here_is_not_chosen(net, images, labels, hurried, monkeypatch):
    def overflow(model, images):
        return 0.5 if b"_int8" not in model else 0.0  # only the weights-only files are fine

    monkeypatch.setattr(quantize, "processor_difference", overflow)
    made = quantise(net.SerializeToString(), images[:200], images[200:], labels[200:])
    assert made.verdict.setting.startswith("weights only")
    assert any("0.50 off what the file means" in (t.problem or "") for t in made.tried)


def test_what_may_overflow_elsewhere_is_chosen_only_if_nothing_else_passes(net, images, labels, hurried, monkeypatch):
    real = quantize.judge
    distances = iter([0.0, 0.5, 0.0])
    monkeypatch.setattr(
        quantize, "judge", lambda *arguments: dataclasses.replace(real(*arguments), differing=next(distances))
    )
    data = (net.SerializeToString(), images[:200], images[200:], labels[200:])
    monkeypatch.setattr(quantize, "_TRIED", (("U8S8", True, "minmax"), ("U8U8", True, "minmax")))
    assert quantise(*data).verdict.setting.startswith("U8U8")
    monkeypatch.setattr(quantize, "_TRIED", (("U8S8", True, "minmax"),))
    assert quantise(*data).verdict.setting.startswith("U8S8")


def test_if_nothing_is_good_enough_the_verdict_says_so(net, images, labels, hurried, monkeypatch):
    real = quantize.judge
    monkeypatch.setattr(
        quantize, "judge", lambda *arguments: dataclasses.replace(real(*arguments), problem="the accuracy falls")
    )
    made = quantise(net.SerializeToString(), images[:200], images[200:], labels[200:])
    assert not made.verdict.passed
    assert made.verdict.reason() == "float32 is recommended: int8 is worse, the accuracy falls"
    assert made.verdict.judgement.int8_accuracy == max(
        t.judgement.int8_accuracy for t in made.tried if t.setting.scheme in EXACT
    )
    assert made.model


def test_a_setting_that_fails_is_noted_and_the_others_go_on(net, images, labels, hurried, monkeypatch):
    real = quantize.to_int8

    def fail(model, setting, ranges):
        if setting.scheme != "U8U8":
            raise RuntimeError("the quantizer\ndoes not know this")
        return real(model, setting, ranges)

    monkeypatch.setattr(quantize, "to_int8", fail)
    made = quantise(net.SerializeToString(), images[:200], images[200:], labels[200:])
    assert made.verdict.setting.startswith("U8U8")
    failed = [trial for trial in made.tried if trial.judgement is None]
    assert {trial.setting.scheme for trial in failed} == {"U8S8 reduced", "U8S8", "S8S8", "weights only"}
    assert all("does not know this" in trial.problem and "\n" not in trial.problem for trial in failed)


def test_if_every_setting_fails_there_is_one_line(net, images, labels, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no\nluck")

    monkeypatch.setattr(quantize, "to_int8", fail)
    with pytest.raises(QuantisationError, match=r"none of \d+ ways to make the net int8 works") as raised:
        quantise(net.SerializeToString(), images[:200], images[200:], labels[200:])
    assert "\n" not in str(raised.value)


def test_a_net_without_layers_is_refused(tiny_model):
    images = np.zeros((10, 3, 8, 8), np.uint8)
    with pytest.raises(QuantisationError, match="no layer with constant weights"):
        quantise(tiny_model(), images, images, np.zeros(10, np.int64))


def test_what_is_no_model_is_refused(images, labels):
    with pytest.raises(QuantisationError, match="cannot be made int8"):
        quantise(b"nonsense", images, images, labels)


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("calibration", "validation", "labels"))


def numbers(images):
    return {image.tobytes() for image in images}


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Images that are all different: 300 of the training in classes of 200, 60 and 40, and 50 of the test."""
    folder = tmp_path_factory.mktemp("numbered")
    images = np.arange(350, dtype=np.uint32)[:, None, None, None].astype("<u4").view(np.uint8).reshape(350, 1, 2, 2)
    labels = np.repeat([0, 1, 2], [200, 60, 40])
    np.savez(folder / "train.npz", images=images[:300], labels=labels)
    np.savez(folder / "test.npz", images=images[300:], labels=np.zeros(50, np.int64))
    return read_source(str(folder))


def with_share(run, share):
    return dataclasses.replace(run, recipe=change(run.recipe, {"validation_share": share}))


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_images_are_apart_by_class_and_never_of_the_test(make_run, numbered, share):
    run = with_share(read_run(make_run("conv")[0]), share)
    chosen = choose_images(numbered, run, most_calibration=150)
    calibration, validation = numbers(chosen.calibration), numbers(chosen.validation)
    assert len(calibration) == len(chosen.calibration) == 150
    assert not calibration & validation
    assert not (calibration | validation) & numbers(numbered.test.images)
    assert chosen.unseen is (share > 0)
    rows = [int(image.view("<u4").item()) for image in chosen.validation.reshape(-1, 4)]
    assert np.array_equal(chosen.labels, numbered.train.labels[rows])
    assert np.bincount(chosen.labels).tolist() == ([20, 6, 4] if not share else [40, 12, 8])
    calibrated = numbered.train.labels[[int(i.view("<u4").item()) for i in chosen.calibration.reshape(-1, 4)]]
    assert np.bincount(calibrated).tolist() == [100, 30, 20]
    assert same(chosen, choose_images(numbered, run, most_calibration=150))
    assert not same(chosen, choose_images(numbered, dataclasses.replace(run, seed=run.seed + 1), most_calibration=150))


def test_the_validation_images_are_those_that_the_run_held_out(make_run, numbered):
    run = with_share(read_run(make_run("conv")[0]), 0.2)
    rows = hold_out(numbered, run.recipe, run.seed)
    assert np.array_equal(choose_images(numbered, run).validation, numbered.train.images[rows])
    few = choose_images(numbered, run, most_validation=30)
    assert np.bincount(few.labels).tolist() == [20, 6, 4]
    assert numbers(few.validation) <= numbers(numbered.train.images[rows])
    assert not numbers(few.calibration) & numbers(numbered.train.images[rows])


def test_a_class_of_one_image_is_no_obstacle(make_run, tmp_path):
    images = np.arange(12 * 4, dtype=np.uint8).reshape(12, 1, 2, 2)
    np.savez(tmp_path / "train.npz", images=images, labels=np.array([0] * 6 + [1] * 5 + [2]))
    np.savez(tmp_path / "test.npz", images=images, labels=np.array([0] * 6 + [1] * 5 + [2]))
    run = with_share(read_run(make_run("conv")[0]), 0.2)
    chosen = choose_images(read_source(str(tmp_path)), run)
    assert (len(chosen.validation), len(chosen.calibration), chosen.unseen) == (1, 11, False)
