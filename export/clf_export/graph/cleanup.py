"""Rules that take nodes away, or put a plainer one in their place, and leave every value as it was.

A rule looks at one node, and says whether it changed the graph.
"""

from onnx import NodeProto, helper

from clf_export.graph.editing import Graph, features, is_flatten, set_attributes


def drop_identity(graph: Graph, node: NodeProto) -> bool:
    """Identity, Dropout whose mask nobody takes, and Flatten of what is flat are no work: take them out."""
    nothing = (
        node.op_type == "Identity"
        or (node.op_type == "Dropout" and len(node.input) == 1 and len([o for o in node.output if o]) == 1)
        or (node.op_type == "Flatten" and is_flatten(graph, node) and len(graph.shape(node.input[0]) or ()) == 2)
    )
    return nothing and graph.bypass(node)


def reshape_to_flatten(graph: Graph, node: NodeProto) -> bool:
    """A Reshape to [batch, everything else] says so: Flatten, which needs no constant and holds no batch size."""
    if node.op_type != "Reshape" or not is_flatten(graph, node):
        return False
    node.CopyFrom(helper.make_node("Flatten", [node.input[0]], [node.output[0]], name=node.name, axis=1))
    return True


def matmul_to_gemm(graph: Graph, node: NodeProto) -> bool:
    """A product of [batch, K] with a constant [K, N] is a Gemm, which can take a bias in."""
    if node.op_type != "MatMul":
        return False
    weights = graph.constant(node.input[1])
    known = features(graph.shape(node.input[0]))
    if weights is None or weights.ndim != 2 or known is None or len(known) != 1:
        return False
    node.op_type = "Gemm"
    set_attributes(node, transB=None)
    return True
