import re

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from clf_export.errors import TranslationError
from clf_export.graph import build_graph
from clf_export.parity import run_onnx
from clf_train.evaluate import Normalisation, probabilities
from clf_train.models import build_model

NORMALISATION = Normalisation((100.0, 110.0, 120.0), (50.0, 60.0, 70.0))


@pytest.fixture(scope="module", params=["simple", "conv"])
def net(request):
    torch.manual_seed(0)
    net = build_model(request.param, (3, 32, 32), 10).train()
    net(torch.randn(50, 3, 32, 32) + 1)  # batch norm that has seen something
    return net.eval()


@pytest.fixture(scope="module")
def model(net):
    return build_graph(net, NORMALISATION, 1.5, (3, 32, 32), "uint8")


def test_it_is_portable(model):
    assert model.ir_version == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert not model.functions
    assert all(i.data_location == onnx.TensorProto.DEFAULT for i in model.graph.initializer)


def test_one_input_with_a_free_batch_and_one_output(model):
    [image], [probs] = model.graph.input, model.graph.output
    assert (image.name, probs.name) == ("image", "probabilities")
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert probs.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (image, probs)]
    assert shapes == [["batch", 3, 32, 32], ["batch", 10]]


def test_nothing_of_the_source_is_in_it(model):
    text = re.sub(rb"[^ -~]", b" ", model.SerializeToString()).decode()
    assert not re.search(r"\.py|/home|/root|/tmp|site-packages|stack_trace|pkg\.torch|forward|aten", text)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_it_answers_as_the_net_with_its_preprocessing(net, model, batch):
    images = np.random.default_rng(batch).integers(0, 256, (batch, 3, 32, 32), dtype=np.uint8)
    expected = probabilities(net, images, NORMALISATION, torch.device("cpu"), 1.5)
    np.testing.assert_allclose(run_onnx(model.SerializeToString(), images), expected, atol=1e-6)


def test_values_as_they_stand_need_no_arithmetic():
    as_they_stand = Normalisation((0.0,) * 3, (1.0,) * 3)
    graph = build_graph(build_model("conv", (3, 16, 16), 4).eval(), as_they_stand, 1.0, (3, 16, 16), "float32").graph
    assert not {node.op_type for node in graph.node} & {"Sub", "Div", "Cast"}


class Untranslatable(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x.flatten(1))[:, :3]


def test_a_net_that_cannot_be_translated_is_one_line_that_names_what_stands_in_the_way(capfd):
    with pytest.raises(TranslationError, match="bessel_j0") as error:
        build_graph(Untranslatable(), NORMALISATION, 1.0, (3, 8, 8), "uint8")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")
