"""The rewriting of an exported graph: the same answers from fewer nodes and less work.

What each rule does and why it is exact stands in its module: tidying, folding, shaping. Graphs with branches or loops
inside (nodes that hold graphs, or functions of the model) are left as they are, since a rule sees one graph only.
"""

from collections.abc import Callable, Sequence

from onnx import AttributeProto, ModelProto, NodeProto

from clf_export.graph.cleanup import drop_identity, matmul_to_gemm, reshape_to_flatten
from clf_export.graph.editing import Graph
from clf_export.graph.folding import drop_log_softmax, fold_into_next_layer, fold_into_previous_layer
from clf_export.graph.shaping import crop_unused_border, pair_rows, relu_before_pool

Rule = Callable[[Graph, NodeProto], bool]
FOLDING: tuple[Rule, ...] = (
    drop_identity,
    reshape_to_flatten,
    matmul_to_gemm,
    drop_log_softmax,
    fold_into_previous_layer,
    fold_into_next_layer,
)
SHAPING: tuple[Rule, ...] = (relu_before_pool, crop_unused_border, pair_rows)


def rewrite(model: ModelProto, stages: Sequence[Sequence[Rule]] = (FOLDING, SHAPING)) -> None:
    """Apply the rules of each stage, in place, until none finds anything; then go on to the next stage.

    First comes what folds and tidies, since what makes a graph faster looks for layers that follow one another.
    Names, types and shapes of the model's inputs and outputs stay; float32 outputs differ by rounding.
    """
    if model.functions or any(_holds_graph(node) for node in model.graph.node):
        return
    graph = Graph(model)
    for rules in stages:
        while any(rule(graph, node) for rule in rules for node in graph.nodes):
            graph.refresh()
    graph.merge_equal_initializers()


def _holds_graph(node: NodeProto) -> bool:
    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)
