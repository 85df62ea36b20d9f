"""The guards that torch.export put on the batch size: there must be none.

torch.export traces a net once, with a symbolic batch size. Where Python code branches on it (`if x.shape[0] >= 100`),
it follows the branch of its example and records a guard, as a range or an assertion
(https://docs.pytorch.org/docs/main/user_guide/torch_compiler/export.html). ONNX cannot hold guards, so the file would
take the wrong branch for some batch sizes.
"""

from typing import Any

import onnx
import sympy
import torch

from clf_export.errors import TranslationError

_PLAIN = (
    "forward() must not turn the batch size into a Python int, as len(x) or a loop over the images does; use x.shape[0]"
)
_DECIDES = "forward() depends on the batch size, which an ONNX graph cannot express (the exporter assumed {})"


def check_assumptions(program: torch.onnx.ONNXProgram, batch: str) -> None:
    """Raise TranslationError if a translation is valid for some batch sizes only; `batch` is the name of its axis.

    A guard against a batch of one image, as PyTorch's own code sets, is accepted: the proof covers single images.
    """
    image, output = (_first_axis(v) for v in (program.model_proto.graph.input[0], program.model_proto.graph.output[0]))
    if image != batch:
        raise TranslationError(f"the net can be exported for a batch of {image} only: {_PLAIN}")
    if output != batch:
        raise TranslationError("the exporter cannot establish that the net gives one row of scores per image")
    exported = program.exported_program
    assert exported is not None
    values = [node.meta.get("val") for node in exported.graph.nodes]
    [place] = [i for i, node in enumerate(exported.graph.nodes) if node.name == exported.graph_signature.user_inputs[0]]
    symbol = values[place].shape[0].node
    count = symbol.expr
    bounds = exported.range_constraints.get(count)
    if bounds is None or bounds.lower > 2 or not _endless(bounds.upper):
        raise TranslationError(_DECIDES.format(f"{bounds.lower} to {bounds.upper} images" if bounds else f"{count}"))
    several = sympy.Symbol(batch, integer=True, nonnegative=True) + 2
    named = sympy.Symbol(batch, integer=True, positive=True)
    for assertion in getattr(symbol.shape_env, "deferred_runtime_asserts", {}).get(None, ()):
        if assertion.expr.subs(count, several) != sympy.true:
            raise TranslationError(_DECIDES.format(assertion.expr.subs(count, named)))
    for value in values:
        for axis in value.shape if isinstance(value, torch.Tensor) else ():
            size = axis.node.expr if isinstance(axis, torch.SymInt) else sympy.Integer(axis)
            if count in size.free_symbols and any(type(e).__name__ in ("Min", "Max") for e in size.atoms(sympy.Basic)):
                raise TranslationError(_DECIDES.format(f"an axis of {size.subs(count, named)}"))


def _first_axis(value: onnx.ValueInfoProto) -> str:
    axis = value.type.tensor_type.shape.dim[0]
    return axis.dim_param or str(axis.dim_value)


def _endless(bound: Any) -> bool:
    """Whether an upper bound is no bound: torch's infinity, or the largest 64-bit integer."""
    return not bound.is_Integer or int(bound) >= 2**62
