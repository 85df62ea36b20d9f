"""What the exporter had to assume of the number of images to translate a net: it must be nothing.

torch.export runs a net once, on symbols in the place of the batch. Where Python code asks for the number of images
(`if x.shape[0] >= 100`), it takes the branch of its example and notes what that holds for, as a range or as an
assertion (https://docs.pytorch.org/docs/main/user_guide/torch_compiler/export.html). ONNX has no place for either: a
file would answer a batch of 100 as if it were another.
"""

from typing import Any

import onnx
import sympy
import torch

from clf_export.errors import TranslationError

_PLAIN = (
    "its forward() must not take the number of images as a plain number, as len(x) or a loop over them does; "
    "x.shape[0] is none"
)
_DECIDES = (
    "what it does depends on the number of images, and a graph does always the same (the exporter had to assume {})"
)


def check_assumptions(program: torch.onnx.ONNXProgram, batch: str) -> None:
    """Raise TranslationError if a translation is for some sizes of batch only; `batch` is what its axis is called.

    That a batch is not of one image, as parts of PyTorch itself ask, is let pass: every image is also answered alone.
    """
    image, output = (_first_axis(v) for v in (program.model_proto.graph.input[0], program.model_proto.graph.output[0]))
    if image != batch:
        raise TranslationError(f"the net can be translated for a batch of {image} only: {_PLAIN}")
    if output != batch:
        raise TranslationError("the exporter cannot tell that the net gives one row of scores an image")
    exported = program.exported_program
    assert exported is not None
    values = [node.meta.get("val") for node in exported.graph.nodes]
    [place] = [i for i, node in enumerate(exported.graph.nodes) if node.name == exported.graph_signature.user_inputs[0]]
    size = values[place].shape[0].node
    count = size.expr
    bounds = exported.range_constraints.get(count)
    if bounds is None or bounds.lower > 2 or not _endless(bounds.upper):
        raise TranslationError(_DECIDES.format(f"{bounds.lower} to {bounds.upper}" if bounds else f"{count}"))
    several = sympy.Symbol(batch, integer=True, nonnegative=True) + 2
    named = sympy.Symbol(batch, integer=True, positive=True)
    for assertion in getattr(size.shape_env, "deferred_runtime_asserts", {}).get(None, ()):
        if assertion.expr.subs(count, several) != sympy.true:
            raise TranslationError(_DECIDES.format(assertion.expr.subs(count, named)))
    for value in values:
        for axis in value.shape if isinstance(value, torch.Tensor) else ():
            if _cuts(axis, count):
                raise TranslationError(_DECIDES.format(f"that {axis.node.expr.subs(count, named)} of them are apart"))


def _first_axis(value: onnx.ValueInfoProto) -> str | int:
    axis = value.type.tensor_type.shape.dim[0]
    return axis.dim_param or axis.dim_value


def _endless(bound: Any) -> bool:
    """Whether an upper bound is none: torch's own infinity, or all that 64 bits hold."""
    return not bound.is_Integer or int(bound) >= 2**62


def _cuts(axis: Any, count: sympy.Symbol) -> bool:
    """Whether the size of an axis is the batch cut at some number of images."""
    if not isinstance(axis, torch.SymInt):
        return False
    expression = axis.node.expr
    return count in expression.free_symbols and any(type(e).__name__ in ("Min", "Max") for e in expression.atoms(sympy.Function, sympy.Min, sympy.Max))
