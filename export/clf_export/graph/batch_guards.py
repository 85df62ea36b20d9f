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
    "its forward() must not make a plain number of the number of images, as len(x) or a loop over them does; "
    "x.shape[0] as it stands is fine"
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
    """Whether an upper bound is none: torch's own infinity, or all that 64 bits hold."""
    return not bound.is_Integer or int(bound) >= 2**62
