"""An ONNX graph that can be asked who makes and who uses a value, and be changed: what the rewriting rules work with.

Nodes are changed in place. An initializer that several nodes use is never altered: whoever wants it otherwise gets one
of its own. `refresh` drops what nothing uses any more.
"""

import math
from collections.abc import Iterable, MutableSequence, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

Shape = tuple[int | None, ...]  # None where the size is not known before the graph runs
_SMALL = 64  # elements of an initializer that shape inference may have to read


class Graph:
    """The main graph of a model, which is changed in place."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.proto: GraphProto = model.graph
        self._constants_to_initializers()
        self.refresh()

    @property
    def nodes(self) -> Sequence[NodeProto]:
        """The nodes, each after those whose values it takes."""
        nodes: Sequence[NodeProto] = self.proto.node
        return nodes

    def refresh(self) -> None:
        """Drop dead nodes and unused initializers, and look at the graph anew. To be called after each change."""
        outputs = {value.name for value in self.proto.output}
        kept, needed = [], set(outputs)
        for node in reversed(self.proto.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        if len(kept) < len(self.proto.node):
            _replace_all(self.proto.node, kept[::-1])
        if any(i.name not in needed for i in self.proto.initializer):
            _replace_all(self.proto.initializer, [i for i in self.proto.initializer if i.name in needed])
        self._initializers = {i.name: i for i in self.proto.initializer}
        self._producers = {name: node for node in self.proto.node for name in node.output if name}
        self._uses: dict[str, list[NodeProto | None]] = {name: [None] for name in outputs}
        for node in self.proto.node:
            for name in node.input:
                self._uses.setdefault(name, []).append(node)
        self._shapes: dict[str, Shape] | None = None

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of an initializer, or None if `name` is none."""
        initializer = self._initializers.get(name)
        return None if initializer is None else numpy_helper.to_array(initializer)

    def producer(self, name: str) -> NodeProto | None:
        """The node that makes a value; None for inputs and initializers."""
        return self._producers.get(name)

    def sole_user(self, name: str) -> NodeProto | None:
        """The node that uses a value, if exactly one does, once, and the value is no output of the graph."""
        uses = self._uses.get(name, [])
        return uses[0] if len(uses) == 1 else None

    def shape(self, name: str) -> Shape | None:
        """What shape inference says of a value; None if it does not know even the rank."""
        if self._shapes is None:
            self._shapes = _infer_shapes(self.model)
        return self._shapes.get(name)

    def add(self, values: NDArray[np.generic], name: str) -> str:
        """Add an initializer, called `name` or, if that is taken, `name` and a number; return its name."""
        stem, count = name, 1
        while name in self._initializers or name in self._producers or name in self._uses:
            count += 1
            name = f"{stem}_{count}"
        self.proto.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        self._initializers[name] = self.proto.initializer[-1]
        return name

    def give(self, node: NodeProto, index: int, values: NDArray[np.generic]) -> None:
        """Give a node other constants as its input `index`; whoever else uses the present ones keeps them."""
        name = node.input[index]
        if self.sole_user(name) is None:
            node.input[index] = self.add(values, name)
        else:
            self._initializers[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))

    def bypass(self, node: NodeProto, source: str | None = None) -> bool:
        """Let the users of a node's first output take `source`, or its first input, instead; False if they cannot."""
        source, result = source or node.input[0], node.output[0]
        if None in self._uses[result]:  # an output of the graph keeps its name, so the source takes it
            maker = self.producer(source)
            if maker is None or None in self._uses[source]:
                return False
            for user in self._uses[source]:
                assert user is not None
                _rename(user.input, source, result)
            _rename(maker.output, source, result)
            self.remove(node)
            return True
        for user in self._uses[result]:
            assert user is not None
            _rename(user.input, result, source)
        self.remove(node)
        return True

    def remove(self, node: NodeProto) -> None:
        """Take a node out."""
        self.proto.node.remove(node)

    def insert(self, position: int, node: NodeProto) -> None:
        """Put a node before the one that stands at `position`."""
        self.proto.node.insert(position, node)

    def merge_equal_initializers(self) -> None:
        """Keep one of several initializers with the same type, shape and bytes. Ends the rewriting, with `refresh`."""
        first: dict[tuple[object, ...], str] = {}
        same: dict[str, str] = {}
        for initializer in self.proto.initializer:
            values = numpy_helper.to_array(initializer)
            key = (initializer.data_type, values.shape, values.tobytes())
            same[initializer.name] = first.setdefault(key, initializer.name)
        for node in self.proto.node:
            for index, name in enumerate(node.input):
                node.input[index] = same.get(name, name)
        self.refresh()

    def _constants_to_initializers(self) -> None:
        for node in [n for n in self.proto.node if n.op_type == "Constant" and n.attribute[0].name == "value"]:
            tensor = self.proto.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            self.proto.node.remove(node)


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """A node's attribute as a Python value: int, float, list or str; `default` if it is not set."""
    for candidate in node.attribute:
        if candidate.name == name:
            value: object = helper.get_attribute_value(candidate)
            return value.decode() if isinstance(value, bytes) else value
    return default


def integers(node: NodeProto, name: str, default: Sequence[int]) -> list[int]:
    """An attribute that is a list of integers."""
    value = attribute(node, name)
    return [int(v) for v in value] if isinstance(value, (list, tuple)) else list(default)


def set_attributes(node: NodeProto, **values: object) -> None:
    """Set attributes of a node, or take away those that are None."""
    _replace_all(node.attribute, [a for a in node.attribute if a.name not in values])
    node.attribute.extend(helper.make_attribute(k, v) for k, v in values.items() if v is not None)


def features(shape: Shape | None) -> tuple[int, ...] | None:
    """The sizes behind the batch, if all of them are known."""
    if not shape or any(size is None for size in shape[1:]):
        return None
    return tuple(size for size in shape[1:] if size is not None)


def is_flatten(graph: Graph, node: NodeProto) -> bool:
    """Whether a Flatten or Reshape gives [batch, everything else] for a value that begins with the batch."""
    sizes = features(graph.shape(node.input[0]))
    if sizes is None:
        return False
    if node.op_type == "Flatten":
        return attribute(node, "axis", 1) == 1
    if node.op_type != "Reshape":
        return False
    wanted = graph.constant(node.input[1])
    count = math.prod(sizes)
    flat = [[-1, count]] if attribute(node, "allowzero", 0) else [[-1, count], [0, count], [0, -1]]
    return wanted is not None and wanted.tolist() in flat


def _infer_shapes(model: ModelProto) -> dict[str, Shape]:
    """Shapes of all values, from a copy without the large initializers, which inference need not read."""
    bare = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = bare.graph
    graph.name = "shapes"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for initializer in model.graph.initializer:
        if math.prod(initializer.dims) <= _SMALL:
            graph.initializer.append(initializer)
        else:
            graph.input.append(
                helper.make_tensor_value_info(initializer.name, initializer.data_type, list(initializer.dims))
            )
    inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    shapes: dict[str, Shape] = {i.name: tuple(i.dims) for i in model.graph.initializer}
    for value in (*inferred.input, *inferred.output, *inferred.value_info):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            shapes[value.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    return shapes


def _rename(names: MutableSequence[str], old: str, new: str) -> None:
    for index, name in enumerate(names):
        if name == old:
            names[index] = new


def _replace_all(field: Any, items: Iterable[object]) -> None:
    """Make a repeated field of a protobuf hold exactly `items`, which may be some of its own."""
    kept = list(items)
    del field[:]
    field.extend(kept)
