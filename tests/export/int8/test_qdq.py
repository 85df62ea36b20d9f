"""A float net becomes an int8 one: the passes before and after, and the file that is written."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from clf_export.int8.passes import before_quantisation
from clf_export.int8.qdq import Setting, kept_in_float, to_int8
from clf_export.proof.parity import run_onnx

REDUCED, PER_TENSOR, WEIGHTS = "U8S8 reduced, per channel", "U8S8 reduced, per tensor", "weights only, per channel"


@pytest.fixture(scope="module")
def prepared(net):
    return before_quantisation(net)


def test_what_comes_before_quantisation_changes_no_answer(net, prepared, images):
    assert np.array_equal(run_onnx(net.SerializeToString(), images), run_onnx(prepared.SerializeToString(), images))
    assert len({node.name for node in prepared.graph.node}) == 9
    assert not prepared.metadata_props


def test_bytes_are_moved_before_they_are_cast():
    body = """<ir_version: 8, opset_import: ["" : 18]> g (uint8[batch, 3, 4, 4] image) => (float[batch, 48] y)
              { f = Cast<to=1>(image) t = Transpose<perm=[0, 2, 3, 1]>(f) g = Flatten(t) y = Relu(g) }"""
    model = before_quantisation(onnx.parser.parse_model(body))
    assert [node.op_type for node in model.graph.node] == ["Transpose", "Flatten", "Cast", "Relu"]
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("placement", ["all", "first in float", "last in float", "first and last in float"])
@pytest.mark.parametrize("scheme", [REDUCED, PER_TENSOR, WEIGHTS])
def test_an_int8_file_takes_and_gives_what_the_float_file_does(net, prepared, images, scheme, placement):
    data = to_int8(prepared, Setting(scheme, placement), images[:200])
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
    assert set(widths.values()) == {TensorProto.INT8}
    difference = np.abs(run_onnx(data, images) - run_onnx(net.SerializeToString(), images))
    assert difference.max() > 0
    assert difference.max() < 0.2
    assert difference.mean() < 0.02


def test_layers_kept_in_float_are(small_net, prepared, images):
    def types(placement, scheme=REDUCED):
        model = onnx.load_from_string(to_int8(prepared, Setting(scheme, placement), images[:64]))
        if scheme == WEIGHTS:
            return sorted(i.name for i in model.graph.initializer if i.data_type == TensorProto.INT8)
        return [i.data_type for i in sorted(model.graph.initializer, key=lambda i: i.name) if len(i.dims) > 1]

    eight, float32 = TensorProto.INT8, TensorProto.FLOAT
    assert types("all") == [eight, eight, eight]
    assert types("first in float") == [float32, eight, eight]
    assert types("last in float") == [eight, eight, float32]
    assert types("first and last in float") == [float32, eight, float32]
    assert types("first in float", WEIGHTS) == ["w2_int8", "w3_int8"]
    small = before_quantisation(small_net(dense=1))
    assert kept_in_float(small, "first in float") is None  # keeps more than half
    with pytest.raises(ValueError, match="no layer to quantise"):
        to_int8(small, Setting(WEIGHTS, "first in float"), images)


def test_softmax_and_scores_stay_in_float_and_bytes_go_in_as_they_are(prepared, images):
    data = to_int8(prepared, Setting(REDUCED, "all"), images[:200])
    nodes = onnx.load_from_string(data).graph.node
    assert nodes[-1].op_type == "Softmax"
    assert nodes[-1].input[0] == "scores"
    assert next(n for n in nodes if "scores" in n.output).op_type == "MatMul"
    assert next(n for n in nodes if "image" in n.input).op_type == "DequantizeLinear"
    assert not [n for n in nodes if n.op_type in ("Cast", "Relu")]


def test_dark_images_still_go_in_as_they_are(prepared, images):
    """The range of bytes is 0..255, whatever the calibration images hold."""
    nodes = onnx.load_from_string(to_int8(prepared, Setting(REDUCED, "all"), images[:200] // 3)).graph.node
    assert next(n for n in nodes if "image" in n.input).op_type == "DequantizeLinear"


@pytest.mark.parametrize(
    ("scheme", "order"),
    [(REDUCED, ["Conv", "MaxPool", "Relu"]), (WEIGHTS, ["Conv", "Relu", "MaxPool", "Relu"])],
)
def test_a_pool_of_floats_comes_before_its_relu_if_it_is_then_quantised(prepared, images, scheme, order):
    data = to_int8(prepared, Setting(scheme, "first in float"), images[:200])
    assert [n.op_type for n in onnx.load_from_string(data).graph.node if n.op_type in order] == order


def test_float_images_are_quantised(small_net, images):
    model = small_net("float32")
    floats = images.astype(np.float32) / 255
    data = to_int8(before_quantisation(model), Setting(REDUCED, "all"), floats[:200])
    assert np.abs(run_onnx(data, floats) - run_onnx(model.SerializeToString(), floats)).mean() < 0.02


def test_the_same_setting_gives_the_same_bytes_in_every_process(tmp_path, prepared, images):
    (tmp_path / "prepared.onnx").write_bytes(prepared.SerializeToString())
    np.save(tmp_path / "images.npy", images[:200])
    program = (
        "import hashlib, numpy, onnx, sys\n"
        "from clf_export.int8.qdq import Setting, to_int8\n"
        f"data = to_int8(onnx.load(sys.argv[1]), {Setting(REDUCED, 'all')!r}, numpy.load(sys.argv[2]))\n"
        "print(hashlib.sha256(data).hexdigest())\n"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "prepared.onnx"), str(tmp_path / "images.npy")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1
