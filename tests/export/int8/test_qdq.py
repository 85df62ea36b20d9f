"""A float net becomes an int8 one: the order of its layers, the ranges of its values, and the file that is written."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from clf_export.int8.layer_order import put_in_order
from clf_export.int8.qdq import EXACT, PLACEMENTS, Setting, kept_in_float, to_int8, watched_tensors
from clf_export.int8.ranges import METHODS, find_ranges
from clf_export.proof.parity import run_onnx
from clf_runtime.engine.engine import open_engine


@pytest.fixture(scope="module")
def ordered(net):
    return put_in_order(net)


@pytest.fixture(scope="module")
def ranges(ordered, images):
    return find_ranges(ordered, watched_tensors(ordered), images[:200])


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
    relu = open_engine(model.SerializeToString(), "", device="cpu").run_all(images[:200])[-1]
    assert set(ranges) == set(METHODS)
    assert ranges["minmax"]["m"] == (0.0, pytest.approx(float(relu.max())))
    assert ranges["minmax"]["g"][0] < 0 < ranges["minmax"]["g"][1]
    for method in METHODS:
        for tensor, (low, high) in ranges[method].items():
            assert ranges["minmax"][tensor][0] <= low <= 0 <= high <= ranges["minmax"][tensor][1], (method, tensor)
    share = ((relu >= ranges["percentile"]["m"][0]) & (relu <= ranges["percentile"]["m"][1])).mean()
    assert 0.999 < share < 1
    assert ranges["entropy"] != ranges["minmax"]


def test_values_that_are_no_numbers_are_refused(small_net, images):
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


def test_layers_kept_in_float_are(small_net, ordered, ranges):
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


def test_float_images_are_quantised(small_net, images):
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
        "from clf_export.int8.qdq import Setting, to_int8\n"
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
