"""Each rule on graphs of a few nodes: what is left of them, and that the answers are the same (see `rewritten`)."""

import onnx
import pytest


def ops(model):
    return [node.op_type for node in model.graph.node]


def constants_of(model):
    return {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}


POOL = "MaxPool<kernel_shape=[2,2], strides=[2,2]>"


def test_relu_comes_before_the_pooling_behind_a_convolution(rewritten):
    body = f"c = Conv(image, w) p = {POOL}(c) y = Relu(p)"
    model = rewritten(body, {"w": (4, 3, 3, 3)}, "float[batch,3,8,8]", "float[batch,4,3,3]")
    assert ops(model) == ["Conv", "Relu", "MaxPool"]


def test_relu_stays_behind_a_pooling_that_has_no_convolution_of_its_own(rewritten):
    body = f"c = Conv(image, w) p = {POOL}(c) r = Relu(p) q = {POOL}(c) y = Add(r, q)"
    model = rewritten(body, {"w": (4, 3, 3, 3)}, "float[batch,3,8,8]", "float[batch,4,3,3]")
    assert ops(model) == ["Conv", "MaxPool", "Relu", "MaxPool", "Add"]
    body = f"p = {POOL}(image) y = Relu(p)"
    assert ops(rewritten(body, {}, "float[batch,3,8,8]", "float[batch,3,4,4]")) == ["MaxPool", "Relu"]


@pytest.mark.parametrize("height", range(9, 14))
@pytest.mark.parametrize("width", [11, 12])
def test_rows_and_columns_that_no_window_reaches_are_cut_off(rewritten, height, width):
    body = f"f = Cast<to=1>(image) c = Conv(f, v) p = {POOL}(c) r = Relu(p) y = Conv<strides=[2,2]>(r, w)"
    model = rewritten(
        body, {"v": (4, 3, 4, 4), "w": (5, 4, 2, 2)}, f"uint8[batch,3,{height},{width}]", "float[batch,5,h,w]"
    )
    reached = [(((((n - 3) // 2 - 2) // 2 * 2 + 2) * 2) + 3) for n in (height, width)]
    places = [(n - 3) * (m - 3) for n, m in ((height, width), reached)]
    if places[1] >= 0.9 * places[0]:
        assert ops(model)[0] == "Cast"
    else:
        assert ops(model) == ["Slice", "Cast", "Conv", "Relu", "MaxPool", "Conv"]
        assert constants_of(model)["crop_ends"].tolist() == reached


def test_padding_before_the_first_window_moves_the_border(rewritten):
    body = f"c = Conv<pads=[1,1,0,0]>(image, v) p = {POOL}(c) y = Relu(p)"
    model = rewritten(body, {"v": (4, 3, 3, 3)}, "float[batch,3,12,12]", "float[batch,4,h,w]")
    assert constants_of(model)["crop_ends"].tolist() == [11, 11]


@pytest.mark.parametrize("size", range(8, 17))
@pytest.mark.parametrize("last", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("ceil", [0, 1])
def test_padding_behind_the_last_window_that_is_used_may_move(rewritten, size, last, ceil):
    body = f"""c = Conv<pads=[0,1,2,1]>(image, v) p = {POOL}(c) r = Relu(p)
               y = {last}<kernel_shape=[3,3], strides=[3,3], pads=[1,0,1,0], ceil_mode={ceil}>(r)"""
    model = rewritten(body, {"v": (4, 3, 5, 3)}, f"float[batch,3,{size},{size}]", "float[batch,4,h,w]")
    assert ops(model)[-4:] == ["Conv", "Relu", "MaxPool", last]
    assert ("Slice" in ops(model)) == (ceil == 0 and size not in (12, 13))


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (f"c = Conv<pads=[0,0,1,1]>(image, v) y = {POOL}(c)", 8),  # what is padded is the end of the image
        ("c = Conv(image, v) y = MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(c)", 9),  # every row is used
        (f"c = Conv(image, v) y = {POOL}(c)", 33),  # too little is saved
        ("y = Conv<strides=[2,2]>(image, v)", 10),  # a row is left out, but nothing is saved
        (f"c = Conv(image, v) p = {POOL}(c) q = {POOL}(c) y = Add(p, q)", 9),  # two users: more than the rule follows
        (f"r = Relu(image) c = Conv(k, r) y = {POOL}(c)", 4),  # images as weights
        (f'c = Conv<auto_pad="SAME_LOWER">(image, v) y = {POOL}(c)', 9),
    ],
)
def test_nothing_is_cut_off_where_all_is_used_or_little_is_won(rewritten, body, size):
    constants = {"v": (4, 3, 3, 3), "k": (1, 3, 12, 12)}
    model = rewritten(body, constants, f"float[batch,3,{size},{size}]", "float[n,c,h,w]")
    assert "Slice" not in ops(model)


def test_a_convolution_that_pads_one_axis_is_cut_along_the_other(rewritten):
    body = f"c = Conv<pads=[0,0,0,1]>(image, v) y = {POOL}(c)"
    model = rewritten(body, {"v": (4, 3, 3, 3)}, "float[batch,3,9,8]", "float[batch,4,h,w]")
    assert constants_of(model)["crop_ends"].tolist() == [8, 8]


AVERAGE = "AveragePool<kernel_shape=[2,2], strides=[2,2]>"
PAIRED = ["Conv", "Relu", "AveragePool", "Reshape", "ReduceMean", "Gemm"]
SHAPES = "float[batch,3,{},{}]"


def pairs(rewritten, height, width, conv="Conv(image, w, b)", pool=AVERAGE, gemm="Gemm", out=8, classes=5, places=0):
    """Rewrite conv, relu, pool, flatten, gemm; `places` are left by the pooling, if not as usual."""
    features = out * (places or ((height - 2) // 2) * ((width - 2) // 2))
    shape = (classes, features) if "transB" in gemm else (features, classes)
    constants = {"w": (out, 3, 3, 3), "b": (out,), "d": shape, "e": (classes,)}
    body = f"c = {conv} r = Relu(c) p = {pool}(r) f = Flatten(p) y = {gemm}(f, d, e)"
    return rewritten(body, constants, SHAPES.format(height, width))


@pytest.mark.parametrize(
    ("height", "width", "options"),
    [
        (10, 8, {}),
        (11, 9, {}),
        (10, 8, {"gemm": "Gemm<transB=1>"}),
        (10, 8, {"conv": "Conv(image, w)"}),
        (10, 8, {"out": 3}),
    ],
)
def test_few_channels_make_two_rows_at_once(rewritten, height, width, options):
    model = pairs(rewritten, height, width, **options)
    assert [op for op in ops(model) if op != "Slice"] == PAIRED
    assert constants_of(model)["w"].shape == (2 * options.get("out", 8), 3, 4, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"out": 9},  # channels enough
        {"conv": "Conv<pads=[1,0,1,0]>(image, w, b)", "places": 5 * 3},
        {"conv": "Conv<strides=[2,1]>(image, w, b)", "places": 2 * 3},
        {"conv": "Conv<dilations=[2,1]>(image, w, b)", "places": 3 * 3},
        {"pool": "AveragePool<kernel_shape=[2,2], strides=[2,2], pads=[1,0,1,0]>", "places": 5 * 3},
        {"pool": "AveragePool<kernel_shape=[2,2], strides=[1,1]>", "places": 7 * 5},
        {"pool": "AveragePool<kernel_shape=[3,2], strides=[2,2]>", "places": 3 * 3},
        {"pool": "MaxPool<kernel_shape=[2,2], strides=[2,2]>"},
    ],
)
def test_rows_stay_single_where_pairs_would_not_pay_or_not_be_the_same(rewritten, options):
    assert constants_of(pairs(rewritten, 10, 8, **options))["w"].shape == (options.get("out", 8), 3, 3, 3)


def test_rows_stay_single_where_the_pooling_rounds_up(rewritten):
    pool = "AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>"
    assert constants_of(pairs(rewritten, 11, 9, pool=pool, places=5 * 4))["w"].shape == (8, 3, 3, 3)


def test_rows_of_grouped_channels_stay_single(rewritten):
    constants = {"w": (6, 1, 3, 3), "b": (6,), "d": (6 * 4 * 3, 5), "e": (5,)}
    body = f"c = Conv<group=3>(image, w, b) r = Relu(c) p = {AVERAGE}(r) f = Flatten(p) y = Gemm(f, d, e)"
    assert constants_of(rewritten(body, constants, SHAPES.format(10, 8)))["w"].shape == (6, 1, 3, 3)


@pytest.mark.parametrize("used", ["c", "r", "p"])
def test_rows_stay_single_where_others_use_the_values(rewritten, used):
    constants = {"w": (8, 3, 3, 3), "d": (96, 5)}
    body = f"""c = Conv(image, w) r = Relu(c) p = {AVERAGE}(r) f = Flatten(p) g = Gemm(f, d)
               m = GlobalAveragePool({used}) n = Flatten(m) s = ReduceMean(n) y = Add(g, s)"""
    assert constants_of(rewritten(body, constants, SHAPES.format(10, 8)))["w"].shape == (8, 3, 3, 3)


def test_the_flattened_values_may_have_several_users(rewritten):
    body = f"c = Conv(image, w) r = Relu(c) p = {AVERAGE}(r) f = Flatten(p) s = ReduceMean(f) y = Sub(f, s)"
    model = rewritten(body, {"w": (8, 3, 3, 3)}, SHAPES.format(10, 8))
    assert ops(model) == ["Conv", "Relu", "AveragePool", "Reshape", "ReduceMean", "ReduceMean", "Sub"]
