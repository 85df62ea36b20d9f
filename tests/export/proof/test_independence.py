import signal

import numpy as np
import pytest
import sound_nets
import torch
import wrong_nets
from torch import nn

from clf_export.errors import ParityError, TranslationError
from clf_export.graph import translate as graph
from clf_export.graph.translate import build_graph
from clf_export.proof.independence import (
    Pool,
    make_pool,
    onnx_scores,
    prove_gradients,
    prove_independence,
    torch_scores,
)
from clf_train.data.normalisation import Normalisation
from clf_train.evaluation.inference import probabilities

N = Normalisation((100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def pool():
    images = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), dtype=np.uint8)
    return make_pool(images, (0.0, 255.0))


def made(name):
    module = sound_nets if hasattr(sound_nets, name) else wrong_nets
    return getattr(module, name)(SHAPE, 4).eval()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_pool_holds_images_of_every_kind_within_the_range(dtype):
    low, high = (0, 255) if dtype == "uint8" else (-1.0, 1.0)
    images = np.random.default_rng(0).uniform(low, high, (5, *SHAPE)).astype(dtype)
    pool = make_pool(images, (low, high))
    assert pool.images.dtype == dtype
    assert (pool.images.min(), pool.images.max()) == (low, high)
    assert (pool.images[pool.neighbours[0]] == low).all()
    assert (pool.images[pool.neighbours[1]] == high).all()
    assert len(np.unique(pool.images.reshape(len(pool.images), -1), axis=0)) == len(pool.images)


@pytest.mark.parametrize("name", ["gather_by_image", "rounded"])
def test_a_sound_net_passes_in_pytorch_and_as_a_file(name, pool):
    net = made(name)
    prove_independence(torch_scores(net, N), pool, "the net")
    prove_gradients(net, N, pool)
    model = build_graph(net, N, 1.0, SHAPE, "uint8").SerializeToString()
    prove_independence(onnx_scores(model), pool, "the file")


@pytest.mark.parametrize("name", ["max_of_batch", "max_before_conv", "saturated_leak", "products_of_rows"])
def test_a_gradient_alone_shows_it(name, pool):
    with pytest.raises(ParityError, match="have a gradient in the pixels of another"):
        prove_gradients(made(name), N, pool)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_test_images_are_proven_too(count, pool):
    few = make_pool(pool.images[:count], (0.0, 255.0))
    prove_gradients(made("batch_norm"), N, few)
    with pytest.raises(ParityError, match="have a gradient in the pixels of another"):
        prove_gradients(made("max_of_batch"), N, few)


def test_what_is_smaller_than_rounding_shows_beside_other_neighbours(pool):
    with pytest.raises(ParityError, match="change with the other images"):
        prove_independence(torch_scores(made("leak_without_gradient"), N), pool, "the net")
    prove_gradients(made("leak_without_gradient"), N, pool)  # which says nothing of what has none


@pytest.mark.parametrize("name", ["max_of_batch", "cumsum_over_batch", "slices_at_256"])
def test_a_file_is_held_to_the_same(name, pool):
    model = graph.translate(made(name), N, 1.0, SHAPE, "uint8") if name != "slices_at_256" else None
    if model is None:
        with pytest.raises(TranslationError, match="one row of scores per image"):
            graph.translate(made(name), N, 1.0, SHAPE, "uint8")
        return
    with pytest.raises(ParityError, match="the output of the file for an image depends on the rest"):
        prove_independence(onnx_scores(model.SerializeToString()), pool, "the file")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("branch_at_100", "assumed 0 to 99 images"),
        ("branch_at_5", r"assumed Ne\(batch, 5\)"),
        ("even_and_odd", r"assumed Eq\(Mod\(batch, 2\), 0\)"),
        ("by_number_of_values", "depends on the batch size"),
        ("late_rows_changed", "assumed an axis of"),
    ],
)
def test_what_the_exporter_assumed_of_the_batch_is_refused(name, says):
    with pytest.raises(TranslationError, match=says) as error:
        build_graph(made(name), N, 1.0, SHAPE, "uint8")
    assert "\n" not in str(error.value)


def test_large_images_are_answered_in_small_batches():
    pool = Pool(np.zeros((8, 3, 600, 800), np.uint8), 2, (3, 4, 5, 6, 7))
    sizes = []

    def scores(batch):
        sizes.append(len(batch))
        return np.zeros((len(batch), 2), np.float32)

    prove_independence(scores, pool, "the net")
    assert max(sizes) == 7


def test_a_net_may_change_what_it_is_given_but_not_the_images():
    images = np.random.default_rng(0).random((4, *SHAPE)).astype(np.float32)
    before = images.copy()
    as_they_stand = Normalisation((0.0,) * 3, (1.0,) * 3)
    net = made("changed_in_place")
    answers = probabilities(net, images, as_they_stand, torch.device("cpu"))
    np.testing.assert_array_equal(images, before)
    model = build_graph(net, as_they_stand, 1.0, SHAPE, "float32").SerializeToString()
    given = torch.softmax(torch.from_numpy(onnx_scores(model)(images)), 1).numpy()
    np.testing.assert_allclose(given, answers, atol=1e-6)


def test_an_interrupt_that_the_exporter_makes_an_error_of_is_one(monkeypatch):
    def interrupted(*arguments, **more):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise AttributeError("module 'torch._dynamo' has no attribute 'exc'") from None

    monkeypatch.setattr(torch.onnx, "export", interrupted)
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 4)).eval()
    with pytest.raises(KeyboardInterrupt):
        build_graph(net, N, 1.0, SHAPE, "uint8")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
