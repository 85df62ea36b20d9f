import re

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from clf_export.errors import TranslationError
from clf_export.graph.rewrite import rewrite
from clf_export.graph.translate import build_graph
from clf_export.proof.parity import run_onnx
from clf_train.data.normalisation import Normalisation
from clf_train.evaluation.inference import probabilities
from clf_train.models.registry import build_model

NORMALISATION = Normalisation((100.0, 110.0, 120.0), (50.0, 60.0, 70.0))


NODES = {
    "simple": "Cast Flatten Gemm Relu Gemm Relu Gemm Relu Gemm Softmax",
    "conv": "Slice Cast Conv Relu MaxPool Conv Relu AveragePool Reshape ReduceMean Gemm Relu Gemm Softmax",
    "resnet8": "Cast Sub Conv Relu Conv Relu Conv Add Relu Conv Relu Conv Conv Add Relu Conv Relu Conv Conv Add Relu "
    "ReduceMean Gemm Softmax",
}


@pytest.fixture(scope="module", params=NODES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def net(name):
    torch.manual_seed(0)
    net = build_model(name, (3, 32, 32), 10).train()
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


def test_the_graph_has_these_nodes_and_no_others(name, model):
    assert " ".join(node.op_type for node in model.graph.node) == NODES[name]
    initializers = [i.name for i in model.graph.initializer]
    assert sorted(initializers) == sorted({x for n in model.graph.node for x in n.input if x in initializers})
    again = onnx.ModelProto.FromString(model.SerializeToString())
    rewrite(again)
    assert " ".join(node.op_type for node in again.graph.node) == NODES[name]


def test_the_reference_evaluator_runs_it(net, model):
    images = np.random.default_rng(3).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    expected = probabilities(net, images, NORMALISATION, torch.device("cpu"), 1.5)
    [answers] = onnx.reference.ReferenceEvaluator(model).run(None, {"image": images})
    np.testing.assert_allclose(answers, expected, atol=1e-6)


class Users(nn.Module):
    """A first layer that is used twice, weights that are used twice, and its own preprocessing."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, bias=False)
        self.fc = nn.Linear(12, 12)
        self.norm = nn.BatchNorm1d(12)
        self.last = nn.Linear(12, 3, bias=False)

    def forward(self, x):
        x = self.first(x * 2 - 1) + self.first(x.flip(3) * 2 - 1)
        x = self.first(torch.relu(x))
        x = torch.nn.functional.max_pool2d(x, 2).flatten(1)
        x = torch.relu(self.norm(self.fc(x))) + self.fc(x)
        return torch.log_softmax(self.last(x), dim=1)


def test_a_users_net_answers_the_same():
    torch.manual_seed(0)
    net = Users().train()
    net(torch.randn(50, 3, 9, 9))
    net.eval()
    images = np.random.default_rng(3).random((7, 3, 9, 9), np.float32)
    normalisation = Normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    model = build_graph(net, normalisation, 0.7, (3, 9, 9), "float32")
    expected = probabilities(net, images, normalisation, torch.device("cpu"), 0.7)
    assert np.ptp(expected, axis=0).min() > 0.01
    np.testing.assert_allclose(run_onnx(model.SerializeToString(), images), expected, atol=2e-6)


class Head(nn.Module):
    """A net of one linear layer whose forward() is `forward(layer, x)`."""

    def __init__(self, forward):
        super().__init__()
        self.given = forward
        self.fc = nn.Linear(192, 3)

    def forward(self, x):
        return self.given(self.fc, x)


REFUSED = {
    "operators that ONNX does not have": (
        lambda fc, x: torch.special.i1(torch.special.bessel_j0(torch.linalg.eigvalsh(x[:, 0])))[:, :3],
        r"no ONNX equivalent for aten\._linalg_eigh\S*, prims\.bessel_i1\S*, prims\.bessel_j0\S*$",
    ),
    "a decision by the values": (
        lambda fc, x: fc(x.flatten(1)) if x.mean() > 0 else 2 * fc(x.flatten(1)),
        "branches on the values of an image",
    ),
    "a batch of two": (lambda fc, x: fc(x.reshape(2, -1)), "the net fails on a batch of 1: .*shape"),
    "a batch of one": (lambda fc, x: fc(x.reshape(1, 192)), "the net fails on a batch of 2: .*shape"),
    "no axis for a batch of one": (lambda fc, x: fc(x.flatten(1)).squeeze(), "the net fails on a batch of 1: "),
    "one answer to all": (lambda fc, x: fc(x.flatten(1)).mean(0, keepdim=True), r"gives \[1, 3\] for a batch of 2"),
    "a loop over the images": (
        lambda fc, x: torch.stack([fc(image.flatten()) for image in x]),
        "can be exported for a batch of 2 only",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_net_that_cannot_be_translated_is_one_line_that_names_what_stands_in_the_way(case, capfd):
    forward, says = REFUSED[case]
    with pytest.raises(TranslationError, match=says) as error:
        build_graph(Head(forward), NORMALISATION, 1.0, (3, 8, 8), "uint8")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")
