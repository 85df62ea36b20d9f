"""Each rule on graphs of a few nodes: what is left of them, and that the answers are the same (see `rewritten`)."""

import numpy as np
import pytest

MEAN = np.float32([100, 110, 120]).reshape(1, 3, 1, 1)
STD = np.float32([50, 60, 70]).reshape(1, 3, 1, 1)
NORMALISE = "f = Cast<to=1>(image) s = Sub(f, mean) d = Div(s, std)"
CONV = {"mean": MEAN, "std": STD, "w": (4, 3, 3, 3), "b": (4,)}
DENSE = {"mean": MEAN, "std": STD, "w": (192, 5), "b": (5,)}


def ops(model):
    return [node.op_type for node in model.graph.node]


def test_mean_and_std_go_into_a_convolution_without_padding(rewritten):
    model = rewritten(f"{NORMALISE} y = Conv(d, w, b)", CONV, output="float[batch,4,6,6]")
    assert ops(model) == ["Cast", "Conv"]
    assert sorted(i.name for i in model.graph.initializer) == ["b", "w"]
    no_bias = {k: v for k, v in CONV.items() if k != "b"}
    model = rewritten(f"{NORMALISE} y = Conv(d, w)", no_bias, output="float[batch,4,6,6]")
    assert ops(model) == ["Cast", "Conv"]


def test_floats_need_no_node_at_all(rewritten):
    constants = CONV | {"mean": MEAN / 255, "std": STD / 255}
    body = "s = Sub(image, mean) d = Div(s, std) y = Conv(d, w, b)"
    assert ops(rewritten(body, constants, "float[batch,3,8,8]", "float[batch,4,6,6]")) == ["Conv"]


@pytest.mark.parametrize("padding", ["pads=[1,1,1,1]", "pads=[0,0,0,1]", 'auto_pad="SAME_UPPER"'])
def test_padding_is_zero_after_the_subtraction_so_only_the_division_folds(rewritten, padding):
    model = rewritten(f"{NORMALISE} y = Conv<{padding}>(d, w, b)", CONV, output="float[batch,4,h,w]")
    assert ops(model) == ["Cast", "Sub", "Conv"]


@pytest.mark.parametrize("group", [3, 1])
def test_channels_of_groups_keep_their_own_mean(rewritten, group):
    constants = CONV | {"w": (6, 3 // group, 3, 3), "b": (6,)}
    model = rewritten(f"{NORMALISE} y = Conv<group={group}>(d, w, b)", constants, output="float[batch,6,6,6]")
    assert ops(model) == ["Cast", "Conv"]


def test_two_groups_of_two_channels(rewritten):
    constants = {"mean": (1, 4, 1, 1), "std": (4, 1, 1), "w": (6, 2, 3, 3), "b": (6,)}
    body = "s = Add(mean, image) d = Mul(s, std) y = Conv<group=2>(d, w, b)"
    assert ops(rewritten(body, constants, "float[batch,4,8,8]", "float[batch,6,6,6]")) == ["Conv"]


@pytest.mark.parametrize(
    ("flatten", "gemm", "weights"),
    [
        ("Flatten(d)", "Gemm", (192, 5)),
        ("Flatten(d)", "Gemm<transB=1>", (5, 192)),
        ("Reshape<allowzero=1>(d, flat)", "Gemm", (192, 5)),
        ("Reshape(d, kept)", "Gemm", (192, 5)),
    ],
)
def test_mean_and_std_go_through_flattening_into_a_dense_layer(rewritten, flatten, gemm, weights):
    constants = DENSE | {"w": weights, "flat": [-1, 192], "kept": [0, -1]}
    assert ops(rewritten(f"{NORMALISE} g = {flatten} y = {gemm}(g, w, b)", constants)) == ["Cast", "Flatten", "Gemm"]


def test_what_follows_the_flattening_folds_too(rewritten):
    body = f"{NORMALISE} g = Flatten(d) h = Mul(g, each) y = Gemm(h, w, b)"
    assert ops(rewritten(body, DENSE | {"each": (192,)})) == ["Cast", "Flatten", "Gemm"]


def test_products_with_constants_are_dense_layers(rewritten):
    body = f"{NORMALISE} g = Flatten(d) p = MatMul(g, w) q = Add(p, b) r = Relu(q) y = MatMul(r, v)"
    assert ops(rewritten(body, DENSE | {"v": (5, 2)})) == ["Cast", "Flatten", "Gemm", "Relu", "Gemm"]


def test_a_product_of_more_axes_stays(rewritten):
    body = "p = MatMul(image, w) y = Add(p, b)"
    kept = rewritten(body, {"w": (8, 5), "b": (5,)}, "float[batch,3,8,8]", "float[batch,3,8,5]")
    assert ops(kept) == ["MatMul", "Add"]


STAYS = {
    "the normalised image is used twice": (
        f"{NORMALISE} c = Conv(d, w, b) e = Conv(d, v, b) y = Add(c, e)",
        {"v": (4, 3, 3, 3)},
        ["Cast", "Sub", "Div", "Conv", "Conv", "Add"],
    ),
    "the weights serve two layers": (
        f"{NORMALISE} c = Conv(d, w, b) e = Relu(c) h = Slice(e, zero, three, one) y = Conv(h, w, b)",
        {"zero": [0], "three": [3], "one": [1]},
        ["Cast", "Sub", "Div", "Conv", "Relu", "Slice", "Conv"],
    ),
    "constants differ from row to row": (
        "f = Cast<to=1>(image) d = Div(f, rows) y = Conv(d, w, b)",
        {"rows": np.arange(1, 9, dtype=np.float32).reshape(8, 1)},
        ["Cast", "Div", "Conv"],
    ),
    "the image is divided into a constant": (
        "f = Cast<to=1>(image) e = Add(f, one) d = Div(std, e) s = Sub(mean, d) y = Conv(s, w, b)",
        {"one": np.float32(1)},
        ["Cast", "Add", "Div", "Sub", "Conv"],
    ),
    "float32 does not hold the weights": (
        "f = Cast<to=1>(image) m = Mul(f, small) r = Relu(m) d = Div(r, tiny) y = Conv(d, w, b)",
        {"tiny": np.float32(1e-30), "small": np.float32(1e-37), "w": np.full((4, 3, 3, 3), 1e10, np.float32)},
        ["Cast", "Mul", "Relu", "Div", "Conv"],
    ),
    "constants make the image larger": (
        "f = Cast<to=1>(image) g = ReduceMean<keepdims=1>(f, one) s = Sub(g, each) y = Conv(s, w, b)",
        {"one": np.int64([1]), "each": (3, 1, 1)},
        ["Cast", "ReduceMean", "Sub", "Conv"],
    ),
    "something stands between": (
        f"{NORMALISE} r = Relu(d) y = Conv(r, w, b)",
        {},
        ["Cast", "Sub", "Div", "Relu", "Conv"],
    ),
}


@pytest.mark.parametrize("case", STAYS)
def test_nothing_folds_where(rewritten, case):
    body, constants, left = STAYS[case]
    assert ops(rewritten(body, CONV | constants, output="float[batch,4,h,w]")) == left


def test_a_mean_far_from_zero_stays_for_the_sake_of_precision(rewritten):
    far = CONV | {"mean": np.float32(200).reshape(1, 1, 1, 1), "std": np.float32(2)}
    body = f"{NORMALISE} y = Conv(d, w, b)"
    assert ops(rewritten(body, far, output="float[batch,4,6,6]")) == ["Cast", "Sub", "Conv"]


def test_a_bias_that_two_layers_share_is_changed_for_one(rewritten):
    body = f"{NORMALISE} c = Conv(d, w, b) e = Relu(c) y = Conv(e, v, b)"
    model = rewritten(body, CONV | {"v": (4, 4, 3, 3)}, output="float[batch,4,4,4]")
    assert ops(model) == ["Cast", "Conv", "Relu", "Conv"]
    assert [list(node.input)[2] for node in model.graph.node if node.op_type == "Conv"] == ["b_2", "b"]


NORM = {"g": np.float32([1, -2, 0.5, 3]), "t": (4,), "m": (4,), "v": np.float32([1, 0.1, 2, 4])}


def test_batch_norm_goes_into_the_layer_before(rewritten):
    conv = {"w": (4, 3, 3, 3)} | NORM
    body = "f = Cast<to=1>(image) c = Conv<pads=[1,1,1,1]>(f, w) y = BatchNormalization<epsilon=0.1>(c, g, t, m, v)"
    assert ops(rewritten(body, conv, output="float[batch,4,8,8]")) == ["Cast", "Conv"]
    dense = {"w": (192, 4), "b": (4,)} | NORM
    body = "f = Cast<to=1>(image) h = Flatten(f) c = Gemm(h, w, b) y = BatchNormalization(c, g, t, m, v)"
    assert ops(rewritten(body, dense)) == ["Cast", "Flatten", "Gemm"]


def test_batch_norm_goes_into_the_layer_behind(rewritten):
    constants = {"w": (2, 4, 3, 3)} | NORM
    body = "n = BatchNormalization(image, g, t, m, v) y = Conv(n, w)"
    assert ops(rewritten(body, constants, "float[batch,4,8,8]", "float[batch,2,6,6]")) == ["Conv"]


def test_batch_norm_stays_where_the_layer_before_has_another_user(rewritten):
    constants = {"w": (4, 3, 3, 3)} | NORM
    body = "c = Conv(image, w) n = BatchNormalization(c, g, t, m, v) y = Add(c, n)"
    kept = rewritten(body, constants, "float[batch,3,8,8]", "float[batch,4,6,6]")
    assert ops(kept) == ["Conv", "BatchNormalization", "Add"]


SCORES = "f = Cast<to=1>(image) h = Flatten(f) g = Gemm(h, w, b)"
SMALL = {"w": np.random.default_rng(1).normal(size=(192, 5)).astype(np.float32) / 300, "b": (5,), "T": np.float32(1.7)}


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        ("d = Div(g, T) y = Softmax<axis=1>(d)", ["Gemm", "Softmax"]),
        ("l = LogSoftmax<axis=1>(g) d = Div(l, T) y = Softmax<axis=-1>(d)", ["Gemm", "Softmax"]),
        ("l = LogSoftmax<axis=-1>(g) y = Softmax<axis=1>(l)", ["Gemm", "Softmax"]),
        ("l = LogSoftmax<axis=0>(g) d = Div(l, T) y = Softmax<axis=1>(d)", ["Gemm", "LogSoftmax", "Div", "Softmax"]),
        ("l = LogSoftmax(g) d = Div(l, b) y = Softmax(d)", ["Gemm", "LogSoftmax", "Div", "Softmax"]),
        (
            "l = LogSoftmax(g) r = Relu(l) k = Add(r, g) y = Softmax(k)",
            ["Gemm", "LogSoftmax", "Relu", "Add", "Softmax"],
        ),
        ("d = Div(g, T) s = Softmax(d) y = Add(s, g)", ["Gemm", "Div", "Softmax", "Add"]),
        ("d = Div(T, g) y = Softmax(d)", ["Gemm", "Div", "Softmax"]),
    ],
)
def test_temperature_and_log_softmax(rewritten, tail, left):
    assert ops(rewritten(f"{SCORES} {tail}", SMALL)) == ["Cast", "Flatten", *left]


def test_no_identity_no_dead_node_no_unused_or_repeated_constant_is_left(rewritten):
    body = """a = Identity(image) b = Identity(a) c = Conv(b, w1) dead = Relu(c) k = Constant<value = float {2.0}> ()
              g = Conv(c, w2) h = Flatten(g) j = Add(h, twice) l = Relu(j) m = Mul(l, k)
              n = Add(m, again) y = Identity(n)"""
    same = np.arange(8, dtype=np.float32)
    constants = {"w1": (3, 3, 3, 3), "w2": (2, 3, 5, 5), "unused": (9,), "twice": same, "again": same.copy()}
    model = rewritten(body, constants, "float[batch,3,8,8]")
    assert ops(model) == ["Conv", "Conv", "Flatten", "Add", "Relu", "Mul", "Add"]
    assert len(model.graph.initializer) == 4


def test_an_identity_alone_is_a_graph(rewritten):
    assert ops(rewritten("y = Identity(image)", {}, "float[batch,5]")) == ["Identity"]


def test_a_graph_with_branches_is_left_alone(rewritten):
    body = """f = Cast<to=1>(image) h = Flatten(f) g = Gemm(h, w, b) d = Div(g, T) s = ReduceSum<keepdims=0>(d)
              c = Greater(s, T)
              y = If (c) <then_branch = t () => (float[batch,k] o) { o = Mul(d, w0) },
                          else_branch = e () => (float[batch,k] p) { p = Identity(d) }>"""
    model = rewritten(body, SMALL | {"w0": np.float32(3)})
    assert ops(model) == ["Cast", "Flatten", "Gemm", "Div", "ReduceSum", "Greater", "If"]
