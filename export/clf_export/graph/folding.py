"""Rules that fold arithmetic with constants into the weights of the layer before or behind it.

    y = a·x + d, then Conv or Gemm      the layer takes x itself: weights times a, bias plus weights times d
    Conv or Gemm, then a·y + d          weights times a, bias times a plus d; batch norm is such an a and d
    log-softmax, then T, then softmax   softmax(log_softmax(y) / T) = softmax(y / T): a softmax is blind to a shift

Weights are folded in float64 and stored as float32, so a result differs by rounding only. Where a fold would not be
exact, or weights serve another node too, nothing happens: zero padding knows nothing of a shift that was folded, and a
value far from zero would be rounded more coarsely than its distance from the mean (see SHIFT_LIMIT).

A rule looks at one node, and says whether it changed the graph.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from clf_export.graph.editing import Graph, attribute, features, integers, is_flatten, set_attributes

Floats = NDArray[np.float64]

# The largest shift, in units of a layer's input, that is folded into it. Images whose mean is a thousand standard
# deviations from zero keep their subtraction: without it float32 has three digits less for what tells them apart.
SHIFT_LIMIT = 16.0
# Whatever multiplies the input of these by a number multiplies their output by it.
_HOMOGENEOUS = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "AveragePool", "GlobalAveragePool"}
_HOMOGENEOUS |= {"ReduceMean", "ReduceSum"}


@dataclass(frozen=True)
class _Affine:
    """A node that gives scale·x + shift, with constants that can be broadcast to one sample, without the batch."""

    source: str
    scale: Floats
    shift: Floats


@dataclass(frozen=True)
class _Layer:
    """The weights of a Conv, [out, in / groups, ...], or of a Gemm, [in, out], and their bias [out], in float64."""

    weights: Floats
    bias: Floats
    has_bias: bool


def fold_into_next_layer(graph: Graph, node: NodeProto) -> bool:
    """Fold affine nodes before a Conv or a Gemm (also those before the Flatten of a Gemm's input) into the layer."""
    layer = _read(graph, node)
    if layer is None:
        return False
    padded = node.op_type == "Conv" and _is_padded(node)
    scale: Floats = np.ones(())
    shift: Floats = np.zeros(())
    entry, name = node, node.input[0]
    found: tuple[NodeProto, str, Floats, Floats] | None = None
    while graph.sole_user(name) is not None and (before := graph.producer(name)) is not None:
        if node.op_type == "Gemm" and entry is node and before.op_type in ("Flatten", "Reshape"):
            sizes = features(graph.shape(before.input[0]))
            if sizes is None or not is_flatten(graph, before):
                break
            scale, shift = (np.broadcast_to(v, math.prod(sizes)).reshape(sizes) for v in (scale, shift))
            entry, name = before, before.input[0]
            continue
        affine = _affine(graph, before)
        if affine is None or (node.op_type == "Conv" and not _one_a_channel(affine)):
            break
        shift = scale * affine.shift + shift
        scale = scale * affine.scale
        if (padded and shift.any()) or not np.abs(shift).max() <= SHIFT_LIMIT:
            break
        name = affine.source
        found = (entry, name, scale, shift)
    if found is None:
        return False
    entry, source, scale, shift = found
    if node.op_type == "Conv":
        groups = _integer(node, "group", 1)
        per_out = [_per_in(v, layer.weights, groups) for v in (scale, shift)]
        bias = layer.bias + (layer.weights * per_out[1]).reshape(len(layer.bias), -1).sum(axis=1)
        weights = layer.weights * per_out[0]
    else:
        scale, shift = (_broadcast(v, graph, source).reshape(-1) for v in (scale, shift))
        bias = layer.bias + shift @ layer.weights
        weights = layer.weights * scale[:, None]
    if not _write(graph, node, layer, weights, bias):
        return False
    entry.input[0] = source
    if entry is not node:
        node.input[0] = entry.output[0]
    return True


def fold_into_previous_layer(graph: Graph, node: NodeProto) -> bool:
    """Fold an affine node behind a Conv or a Gemm into it; a mere scale also through nodes that carry it along."""
    affine = _affine(graph, node)
    if affine is None:
        return False
    name = affine.source
    mere_scale = affine.scale.ndim == 0 and not affine.shift.any()
    while True:
        before = graph.producer(name)
        if before is None or graph.sole_user(name) is None:
            return False
        if not (mere_scale and before.op_type in _HOMOGENEOUS):
            break
        name = before.input[0]
    layer = _read(graph, before)
    if layer is None or (before.op_type == "Conv" and not _one_a_channel(affine)):
        return False
    scale, shift = (np.broadcast_to(v.reshape(-1), len(layer.bias)) for v in (affine.scale, affine.shift))
    along_out = scale.reshape(-1, *(1,) * (layer.weights.ndim - 1)) if before.op_type == "Conv" else scale
    if not _write(graph, before, layer, layer.weights * along_out, layer.bias * scale + shift):
        return False
    return graph.bypass(node, affine.source)


def drop_log_softmax(graph: Graph, node: NodeProto) -> bool:
    """Drop a LogSoftmax that reaches a Softmax of the same axis through multiplications by numbers only."""
    if node.op_type != "LogSoftmax":
        return False
    user = graph.sole_user(node.output[0])
    while user is not None and user.op_type != "Softmax":
        affine = _affine(graph, user)
        if affine is None or affine.scale.ndim or affine.shift.ndim:
            return False
        user = graph.sole_user(user.output[0])
    shape = graph.shape(node.input[0])
    if user is None or shape is None:
        return False
    axes = {_integer(n, "axis", -1) % len(shape) for n in (node, user)}
    return len(axes) == 1 and graph.bypass(node)


def _affine(graph: Graph, node: NodeProto) -> _Affine | None:
    """A node as scale·x + shift with finite constants, if it is that."""
    if node.op_type == "BatchNormalization":
        return _batch_norm(graph, node)
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    first, second = (graph.constant(name) for name in node.input)
    swapped = first is not None and second is None and node.op_type in ("Add", "Mul")
    constant = first if swapped else second
    source = node.input[1 if swapped else 0]
    shape = graph.shape(source)
    if constant is None or shape is None or constant.dtype != np.float32 or graph.constant(source) is not None:
        return None
    value = constant.astype(np.float64)
    if value.ndim == len(shape) and value.ndim and value.shape[0] == 1:
        value = value[0]
    sizes = features(shape)
    if value.ndim >= len(shape) or not np.isfinite(value).all() or (node.op_type == "Div" and not value.all()):
        return None
    if value.size == 1:
        value = value.reshape(())
    elif sizes is None or not _fits(value.shape, sizes):
        return None
    else:
        value = value.reshape((1,) * (len(sizes) - value.ndim) + value.shape)
    one, zero = np.ones(()), np.zeros(())
    return {
        "Add": _Affine(source, one, value),
        "Sub": _Affine(source, one, -value),
        "Mul": _Affine(source, value, zero),
        "Div": _Affine(source, one / np.where(value == 0, 1, value), zero),
    }[node.op_type]


def _batch_norm(graph: Graph, node: NodeProto) -> _Affine | None:
    constants = [graph.constant(name) for name in node.input[1:]]
    shape = graph.shape(node.input[0])
    if shape is None or len([o for o in node.output if o]) != 1 or attribute(node, "training_mode", 0):
        return None
    values = [c.astype(np.float64).reshape(-1, *(1,) * (len(shape) - 2)) for c in constants if c is not None]
    if len(values) < 4:
        return None
    gamma, beta, mean, variance = values
    epsilon = attribute(node, "epsilon", 1e-5)
    assert isinstance(epsilon, float)
    scale = gamma / np.sqrt(variance + epsilon)
    return _Affine(node.input[0], scale, beta - mean * scale)


def _read(graph: Graph, node: NodeProto) -> _Layer | None:
    """The constant weights and bias of a Conv or a Gemm, with Gemm's factors in them; None if they serve others too."""
    if node.op_type not in ("Conv", "Gemm") or attribute(node, "transA", 0):
        return None
    weights = graph.constant(node.input[1])
    if weights is None or weights.dtype != np.float32 or graph.sole_user(node.input[1]) is None:
        return None
    values = weights.astype(np.float64)
    if node.op_type == "Gemm":
        values = values.T if attribute(node, "transB", 0) else values
        values = values * _number(node, "alpha")
    count = values.shape[0 if node.op_type == "Conv" else 1]
    if len(node.input) < 3 or not node.input[2]:
        return _Layer(values, np.zeros(count), has_bias=False)
    bias = graph.constant(node.input[2])
    if bias is None or bias.size not in (1, count) or (bias.ndim and bias.shape[-1] != bias.size):
        return None
    beta = _number(node, "beta") if node.op_type == "Gemm" else 1.0
    return _Layer(values, np.broadcast_to(bias.astype(np.float64).reshape(-1) * beta, count), has_bias=True)


def _write(graph: Graph, node: NodeProto, old: _Layer, weights: Floats, bias: Floats) -> bool:
    """Give a layer new weights and a new bias; False if float32 does not hold them."""
    with np.errstate(over="ignore"):
        weights32, bias32 = weights.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(weights32).all() and np.isfinite(bias32).all()):
        return False
    if node.op_type == "Gemm":
        if attribute(node, "transB", 0):
            weights32 = weights32.T
        set_attributes(node, alpha=None, beta=None)
    graph.give(node, 1, weights32)
    if old.has_bias:
        graph.give(node, 2, bias32)
    elif bias32.any():
        del node.input[2:]
        node.input.append(graph.add(bias32, node.input[1].removesuffix("weight") + "bias"))
    return True


def _one_a_channel(affine: _Affine) -> bool:
    """Whether the constants are the same at every place of an image, so that a convolution can take them in."""
    return all(v.ndim == 0 or v.size == v.shape[0] for v in (affine.scale, affine.shift))


def _per_in(values: Floats, weights: Floats, groups: int) -> Floats:
    """Values [in, 1, ...] or one number, as a factor for weights [out, in / groups, ...]."""
    out, inside = weights.shape[:2]
    channels = np.broadcast_to(values.reshape(-1), inside * groups).reshape(groups, inside)
    return np.repeat(channels, out // groups, axis=0).reshape(out, inside, *(1,) * (weights.ndim - 2))


def _broadcast(values: Floats, graph: Graph, name: str) -> Floats:
    sizes = features(graph.shape(name))
    assert sizes is not None
    return np.broadcast_to(values, sizes)


def _fits(shape: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Whether constants of `shape` can be broadcast to a sample of `sizes` without making it larger."""
    return all(a in (1, b) for a, b in zip(shape[::-1], sizes[::-1], strict=False))


def _is_padded(node: NodeProto) -> bool:
    return attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID") or any(integers(node, "pads", ()))


def _integer(node: NodeProto, name: str, default: int) -> int:
    value = attribute(node, name, default)
    assert isinstance(value, int)
    return value


def _number(node: NodeProto, name: str) -> float:
    value = attribute(node, name, 1.0)
    assert isinstance(value, (int, float))
    return float(value)
