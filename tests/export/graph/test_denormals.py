"""Weights so small that products with them are denormal: an exported graph has none, and answers as before."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from clf_export.graph.denormals import drop_denormals
from clf_export.graph.translate import build_graph
from clf_export.proof.parity import run_onnx
from clf_train.data.normalisation import Normalisation


def floats(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}


def test_a_dead_channel_whose_batch_norm_is_folded_becomes_zero():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4).eval()
    with torch.no_grad():
        norm.weight[1], norm.bias[1] = 1e-37, 1e-39
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    mean, std = (100.0,) * 3, (60.0,) * 3
    model = build_graph(net, Normalisation(mean, std), 1.0, (3, 8, 8), "uint8")
    [kernel] = [values for values in floats(model).values() if values.ndim == 4]
    assert np.array_equal(kernel[1], np.zeros((3, 3, 3)))
    assert kernel[[0, 2, 3]].all()
    for values in floats(model).values():
        assert not ((np.abs(values) < 1e-30) & (values != 0)).any()
    with torch.no_grad():
        expected = torch.softmax(net((images.float() - 100) / 60), dim=1).numpy()
    np.testing.assert_allclose(run_onnx(model.SerializeToString(), images.numpy()), expected, atol=1e-6)


@pytest.mark.parametrize("also", ["", "z = Max (w, w)"])
def test_what_keeps_a_logarithm_from_zero_stays(also):
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 18]> g (float[batch, 2] x) => (float[batch, 3] y) {{
            h = MatMul (x, w)
            k = Add (h, least)
            y = Log (k)
            {also}
        }}"""
    )
    weights = np.array([[1e-33, -1e-39, 1e-29], [2.0, 0.0, 3.0]], np.float32)
    least = np.array(1.2e-38, np.float32)
    model.graph.initializer.extend([numpy_helper.from_array(weights, "w"), numpy_helper.from_array(least, "least")])
    drop_denormals(model)
    found = floats(model)
    assert found["least"] == least
    kept = weights if also else np.array([[0, 0, 1e-29], [2, 0, 3]], np.float32)
    assert np.array_equal(found["w"], kept)
