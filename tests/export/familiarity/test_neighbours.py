"""The familiarity of a frozen net: its distance is the one it says, and its graph computes it."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from clf_export.errors import FamiliarityError
from clf_export.familiarity.fit import with_familiarity
from clf_export.familiarity.images import FrozenImages
from clf_export.familiarity.neighbours import fit_metric
from clf_export.familiarity.outputs import named_outputs, second_output
from clf_runtime.evaluation.unknown import auroc
from clf_train.loop.head import regress

GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
net (uint8[batch, 3, 16, 16] image) => (float[batch, 3] probabilities) {
    x = Cast <to = 1> (image)
    shifted = Sub (x, middle)
    map = Conv <pads = [1, 1, 1, 1]> (shifted, kernel)
    rectified = Relu (map)
    pooled = GlobalAveragePool (rectified)
    flat = Flatten (pooled)
    logits = Gemm <transB = 1> (flat, weight, bias)
    probabilities = Softmax (logits)
}
"""


@pytest.fixture(scope="module")
def net():
    """Images of three colours, and a net of which only the head was fitted to them."""
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])[labels] + random.normal(0, 20, (90, 3))
    images = (colours[:, :, None, None] + random.normal(0, 15, (90, 3, 16, 16))).clip(0, 255).astype(np.uint8)
    model = onnx.parser.parse_model(GRAPH)
    weights = {
        "middle": np.array(128, np.float32),
        "kernel": random.normal(0, 0.02, (24, 3, 3, 3)).astype(np.float32),
        "weight": np.zeros((3, 24), np.float32),
        "bias": np.zeros(3, np.float32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    head = regress(named_outputs(model, ("flat",), images)[0], labels, 3, seed=0)
    for tensor, value in zip(model.graph.initializer[-2:], (head.weight, head.bias), strict=True):
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
    noise = random.integers(0, 256, (60, 3, 16, 16)).astype(np.uint8)
    return (
        model,
        FrozenImages(images, labels, 3, head.penalty, None, 1.0, 0, {"noise": noise[:10]}, noise[:0], noise[:0]),
        noise,
    )


def test_the_metric_is_the_shrunk_covariance_within_the_classes():
    random = np.random.default_rng(1)
    labels = np.arange(40) % 4
    x = random.normal(size=(40, 12)) + 3 * random.normal(size=(4, 12))[labels]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = random.normal(size=(25, 12))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    metric = fit_metric(x, labels)
    centred = np.concatenate([x[labels == k] - x[labels == k].mean(axis=0) for k in range(4)])
    inverse = np.linalg.inv(centred.T @ centred / len(x) + metric.scale * np.eye(12))
    apart = y[:, None] - x[None]
    assert np.allclose(metric.nearest(y), np.einsum("npc,cd,npd->np", apart, inverse, apart).min(axis=1))


def test_the_graph_gives_what_numpy_gives(net):
    model, images, noise = net
    made, _ = with_familiarity(model, images)
    found = second_output(made.SerializeToString(), np.concatenate([images.known, noise]))
    x, logits = named_outputs(made, ("familiarity.direction", "logits"), np.concatenate([images.known, noise]))
    energy = np.log(np.exp(logits.astype(np.float64)).sum(axis=1))
    distance = fit_metric(x[:90].astype(np.float64), images.labels).nearest(x.astype(np.float64))
    parts = named_outputs(made, ("familiarity.parts",), np.concatenate([images.known, noise]))[0]
    assert np.allclose(parts[:, 0], energy, atol=1e-4)
    weights = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    share = weights["familiarity.knots.weight"][0]
    score = parts @ share
    assert np.allclose(
        score - score[0], share[0] * (energy - energy[0]) + (distance - distance[0]) * -abs(share[1]), atol=2e-3
    )
    assert (np.diff(found[np.argsort(score)]) >= -1e-4).all()
    assert auroc(found[:90], found[90:]) > 0.95


def test_probabilities_do_not_change(net):
    model, images, noise = net
    made, record = with_familiarity(model, images)
    a, b = (named_outputs(m, ("logits",), noise)[0] for m in (model, made))
    assert np.array_equal(a, b)
    assert (record.images, record.unseen, record.kinds) == (90, True, ("noise",))


def test_a_net_without_maps_is_refused(net):
    _, images, _ = net
    flat = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> net (float[batch, 4] image) => (float[batch, 2] probabilities)'
        "<float[4, 2] weight = {1, 0, 0, 1, 1, 0, 0, 1}>"
        "{ logits = MatMul (image, weight) probabilities = Softmax (logits) }"
    )
    with pytest.raises(FamiliarityError, match="no map before its last layer"):
        with_familiarity(flat, images)


def test_what_is_like_the_given_examples_is_less_familiar(net):
    model, images, noise = net
    random = np.random.default_rng(2)
    darker = (0.85 * images.known[random.permutation(90)[:80]]).astype(np.uint8)
    shares = []
    for given in (noise[:0], darker[:40]):
        made, record = with_familiarity(model, replace(images, given=given, fresh_given=given[:10]))
        data = made.SerializeToString()
        shares.append((second_output(data, darker[40:]).mean(), second_output(data, images.known).mean()))
    assert shares[1][0] < shares[0][0]
    assert abs(shares[1][1] - shares[0][1]) < 0.05
    assert record.given == 10
