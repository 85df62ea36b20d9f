"""The rewriting of an exported graph: the same outputs from fewer nodes and less work.

The rules, and why they are exact, are in folding and convolutions. onnx_ir's passes remove identities, dead nodes, and
unused and duplicate constants. Graphs with control flow (subgraphs, or functions of the model) are left unchanged,
since a rule sees one graph only.
"""

from collections.abc import Callable, Sequence

import onnx_ir as ir
from onnx import ModelProto
from onnx_ir.passes import common as passes

from clf_export.graph.convolutions import crop_unused_border, pair_rows, relu_before_pool
from clf_export.graph.folding import (
    drop_log_softmax,
    fold_into_next_layer,
    fold_into_previous_layer,
    matmul_to_gemm,
    reshape_to_flatten,
)
from clf_export.graph.library_calls import silenced

Rule = Callable[[ir.Node], bool]  # looks at one node, and returns whether it changed the graph
FOLDING: tuple[Rule, ...] = (
    reshape_to_flatten,
    matmul_to_gemm,
    drop_log_softmax,
    fold_into_previous_layer,
    fold_into_next_layer,
)
CONVOLUTIONS: tuple[Rule, ...] = (relu_before_pool, crop_unused_border, pair_rows)


def rewrite(model: ModelProto, stages: Sequence[Sequence[Rule]] = (FOLDING, CONVOLUTIONS)) -> None:
    """Apply the rules of each stage, in place, until none matches; then go on to the next stage.

    Folding comes first, since the other rules look for consecutive layers.
    Names, types and shapes of the model's inputs and outputs are kept; float32 outputs differ by rounding.
    """
    rewritten = ir.from_proto(model)
    if rewritten.functions or any(True for _ in rewritten.graph.subgraphs()):
        return
    with silenced():  # the passes log
        passes.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)(rewritten)
        _refresh(rewritten)
        for rules in stages:
            while any(rule(node) for rule in rules for node in rewritten.graph):
                _refresh(rewritten)
        passes.DeduplicateInitializersPass(size_limit=1 << 62)(rewritten)
    model.CopyFrom(ir.to_proto(rewritten))
    del model.graph.value_info[:]


def _refresh(model: ir.Model) -> None:
    """Remove identities, dead nodes and unused constants, and infer all shapes again."""
    passes.IdentityEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
    passes.ShapeInferencePass(strict_mode=False)(model)
