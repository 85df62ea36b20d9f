"""Rules that fold arithmetic with constants into the weights of the layer before or after it.

    y = a·x + d, then Conv or Gemm      the layer takes x itself: weights times a, bias plus weights times d
    Conv or Gemm, then a·y + d          weights times a, bias times a plus d; batch norm is such an a and d
    log-softmax, then T, then softmax   softmax(log_softmax(y) / T) = softmax(y / T): softmax is shift-invariant

Weights are folded in float64 and stored as float32, so results differ by rounding only. Nothing is folded where that
would not be exact or where another node uses the weights too: zero padding does not include a folded shift, and float32
would lose precision where values are far from zero compared with their spread (see SHIFT_LIMIT).

A rule looks at one node, and returns whether it changed the graph.
"""

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from clf_export.graph.nodes import (
    add_constant,
    become,
    constant,
    integers,
    is_flatten,
    maker,
    pads_by_size,
    set_constant,
    sizes_of,
    sole_user,
)

Floats = NDArray[np.float64]

# The largest shift, in units of a layer's input, that is folded into it. Images whose mean is a thousand standard
# deviations from zero keep their subtraction: without it float32 has three digits less for their differences.
SHIFT_LIMIT = 16.0


@dataclass(frozen=True)
class _Affine:
    """A node that computes scale·x + shift, both [channels], along the axis after the batch."""

    source: ir.Value
    scale: Floats
    shift: Floats


@dataclass(frozen=True)
class _Layer:
    """The weights of a Conv, [out, in / groups, ...], or of a Gemm, [in, out], and their bias [out], in float64."""

    weights: Floats
    bias: Floats


def reshape_to_flatten(node: ir.Node) -> bool:
    """A Reshape to [batch, everything else] becomes a Flatten, which needs no constant and no batch size."""
    if node.op_type != "Reshape" or not is_flatten(node):
        return False
    become(node, "Flatten", node.inputs[:1], axis=1)
    return True


def matmul_to_gemm(node: ir.Node) -> bool:
    """A product of [batch, K] with a constant [K, N] becomes a Gemm, which can have a bias."""
    if node.op_type != "MatMul":
        return False
    weights, sizes = constant(node.inputs[1]), sizes_of(node.inputs[0])
    if weights is None or weights.ndim != 2 or sizes is None or len(sizes) != 1:
        return False
    become(node, "Gemm", node.inputs)
    return True


def fold_into_next_layer(node: ir.Node) -> bool:
    """Fold affine nodes before a Conv or a Gemm, or before the Flatten of a Gemm's input, into the layer."""
    layer = _read(node)
    if layer is None:
        return False
    is_conv = node.op_type == "Conv"
    is_padded = pads_by_size(node) or any(integers(node, "pads", ()))
    entry, places = node, 1
    flatten = maker(node.inputs[0])
    if not is_conv and flatten is not None and is_flatten(flatten):
        entry, places = flatten, math.prod((sizes_of(flatten.inputs[0]) or ())[1:])
    source, scale, shift = None, np.ones(1), np.zeros(1)
    while (affine := _affine(maker(source or entry.inputs[0]))) is not None:
        further = scale * affine.shift + shift
        if (further.any() and is_padded) or not np.abs(further).max() <= SHIFT_LIMIT:
            break
        source, scale, shift = affine.source, scale * affine.scale, further
    if source is None:
        return False
    if is_conv:
        scale, shift = (_per_in(v, layer.weights, node.attributes.get_int("group", 1)) for v in (scale, shift))
        bias = layer.bias + (layer.weights * shift).reshape(len(layer.bias), -1).sum(axis=1)
        weights = layer.weights * scale
    else:
        bias = layer.bias + np.repeat(shift, places) @ layer.weights
        weights = layer.weights * np.repeat(scale, places)[:, None]
    if not _write(node, weights, bias):
        return False
    entry.replace_input_with(0, source)
    return True


def fold_into_previous_layer(node: ir.Node) -> bool:
    """Fold an affine node after a Conv or a Gemm into it."""
    affine = _affine(node)
    before = maker(affine.source) if affine is not None else None
    layer = _read(before) if before is not None else None
    if affine is None or before is None or layer is None:
        return False
    out = (-1, *(1,) * (layer.weights.ndim - 1)) if before.op_type == "Conv" else (-1,)
    if not _write(before, layer.weights * affine.scale.reshape(out), layer.bias * affine.scale + affine.shift):
        return False
    become(node, "Identity", [affine.source])
    return True


def drop_log_softmax(node: ir.Node) -> bool:
    """Drop a LogSoftmax over [batch, classes] that only multiplications by a scalar separate from a Softmax."""
    if node.op_type != "LogSoftmax":
        return False
    user = sole_user(node.outputs[0])
    while (affine := _affine(user)) is not None and np.ptp(affine.scale) == 0 and user is not None:
        user = sole_user(user.outputs[0])
    if user is None or user.op_type != "Softmax" or len(sizes_of(node.inputs[0]) or ()) != 1:
        return False
    if any(n.attributes.get_int("axis", -1) not in (1, -1) for n in (node, user)):
        return False
    become(node, "Identity", node.inputs)
    return True


def _affine(node: ir.Node | None) -> _Affine | None:
    """A node as scale·x + shift with finite constants; None if it is something else."""
    if node is None or node.op_type not in ("BatchNormalization", "Add", "Sub", "Mul", "Div"):
        return None
    source, *others = node.inputs
    if node.op_type in ("Add", "Mul") and constant(source) is not None:
        source, others = others[0], [source]
    sizes, constants = sizes_of(source), [c for c in map(constant, others) if c is not None]
    if source is None or not sizes or constant(source) is not None or len(constants) < len(others):
        return None
    if any(c.dtype != np.float32 or not np.isfinite(c).all() for c in constants):
        return None
    values = [c.astype(np.float64) for c in constants]
    one, zero = np.ones(sizes[0]), np.zeros(sizes[0])
    if node.op_type == "BatchNormalization":
        if node.attributes.get_int("training_mode", 0) == 1:
            return None
        gamma, beta, mean, variance = values
        scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
        return _Affine(source, scale, beta - mean * scale)
    [value] = values
    whole = (1,) * (1 + len(sizes) - value.ndim) + value.shape
    if whole not in ((1,) * (1 + len(sizes)), (1, sizes[0], *(1,) * (len(sizes) - 1))):
        return None
    value = np.broadcast_to(value.reshape(-1), sizes[0])
    if node.op_type == "Div":
        return _Affine(source, one / value, zero) if value.all() else None
    if node.op_type == "Mul":
        return _Affine(source, value, zero)
    return _Affine(source, one, value if node.op_type == "Add" else -value)


def _read(node: ir.Node) -> _Layer | None:
    """The constant weights and bias of a Conv or a Gemm; None if others use them too, or if Gemm has factors."""
    if node.op_type not in ("Conv", "Gemm") or node.attributes.get_int("transA", 0) == 1:
        return None
    if any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return None
    weights = constant(node.inputs[1])
    if weights is None or weights.dtype != np.float32 or sole_user(node.inputs[1]) is None:
        return None
    values = weights.astype(np.float64)
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        values = values.T
    count = values.shape[0 if node.op_type == "Conv" else 1]
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return _Layer(values, np.zeros(count))
    bias = constant(node.inputs[2])
    return None if bias is None or bias.shape != (count,) else _Layer(values, bias.astype(np.float64))


def _write(node: ir.Node, weights: Floats, bias: Floats) -> bool:
    """Give a layer new weights and a new bias; False if they overflow float32."""
    with np.errstate(over="ignore"):
        weights32, bias32 = weights.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(weights32).all() and np.isfinite(bias32).all()):
        return False
    set_constant(node, 1, weights32.T if node.attributes.get_int("transB", 0) else weights32)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        set_constant(node, 2, bias32)
    elif bias32.any():
        node.resize_inputs(3)
        name = (node.inputs[1] and node.inputs[1].name) or ""
        node.replace_input_with(2, add_constant(node, bias32, name.removesuffix("weight") + "bias"))
    return True


def _per_in(values: Floats, weights: Floats, groups: int) -> Floats:
    """Values [in], or a scalar, broadcast as a factor for weights [out, in / groups, ...]."""
    out, inside = weights.shape[:2]
    channels = np.broadcast_to(values, inside * groups).reshape(groups, inside)
    return np.repeat(channels, out // groups, axis=0).reshape(out, inside, *(1,) * (weights.ndim - 2))
