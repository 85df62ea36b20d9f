"""A foreign ONNX file as it is: read with bounds, refused with a reason in one line, or described as an Original."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from clf_export.errors import AdoptionError
from clf_runtime.engine.engine import Engine, TensorInfo, open_engine
from clf_runtime.errors import ModelError, brief
from clf_runtime.model.file import read_model
from clf_runtime.model.metadata import PREFIX

NEWEST_OPSET = onnx.defs.onnx_opset_version()
_ML = "ai.onnx.ml"  # scikit-learn's operators, which onnxruntime has
_DOMAINS = ("", _ML)
_FLOATS = ("float32", "float16", "float64")
_PIXELS = ("uint8", "float32", "float64")
_FEW = 5


@dataclass(frozen=True)
class Original:
    """A foreign file: its bytes, the graph in them, and the engine that runs them, unchanged.

    `output` is the place of the scores among the engine's outputs. `batch` is the only batch size that it takes, None
    if it takes any.
    """

    path: Path
    data: bytes
    model: onnx.ModelProto
    engine: Engine
    output: int
    batch: int | None

    @property
    def input(self) -> TensorInfo:
        """The one input: a batch of images."""
        return self.engine.inputs[0]

    @property
    def opset(self) -> int:
        """The version of ONNX's operator set."""
        return next((entry.version for entry in self.model.opset_import if not entry.domain), 1)


def read_original(path: Path, output: str | None = None) -> Original:
    """Read a foreign file; `output` names the output with the scores where several may be it.

    No path that the file holds is followed. Raises AdoptionError if it cannot be read, is not a classifier, or has what
    a clf-edge model cannot: other files' weights, custom operators, control flow, several inputs.
    """
    try:
        data = read_model(path)
    except ModelError as error:
        raise AdoptionError(str(error)) from None
    try:
        model = _parse(path, data)
    except UnicodeDecodeError:  # protobuf decodes text when it is read
        raise AdoptionError(f"{path}: not an ONNX model, or damaged: its names are not UTF-8") from None
    try:
        engine = open_engine(data, str(path), device="cpu")
    except ModelError as error:
        raise AdoptionError(str(error)) from None
    inputs = engine.inputs
    if len(inputs) != 1:
        few = ", ".join(found.name for found in inputs[:_FEW])
        raise AdoptionError(f"{path}: has {len(inputs)} inputs ({few}); an image classifier has one")
    if inputs[0].dtype == "float16":
        why = "which onnxruntime rounds at other places in another graph, by more than the proof allows"
        raise AdoptionError(f"{path}: takes float16, {why}: export it in float32")
    if inputs[0].dtype not in _PIXELS:
        raise AdoptionError(f"{path}: its input is {inputs[0]}; supported are {', '.join(_PIXELS)}")
    if len(inputs[0].shape) not in (2, 4):
        raise AdoptionError(f"{path}: its input is {inputs[0]}; expected images of 4 axes, or 2 if they are flattened")
    first = inputs[0].shape[0]
    batch = first if isinstance(first, int) and first > 0 else None
    return Original(path, data, model, engine, _find_output(path, engine, output), batch)


def _parse(path: Path, data: bytes) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except Exception as error:  # of the protobuf library, which has several implementations
        raise AdoptionError(f"{path}: not an ONNX model, or truncated: {brief(error, 80)}") from None
    if not model.graph.node or not model.opset_import:
        raise AdoptionError(f"{path}: not an ONNX model: it has no operators, or no operator set")
    if any(entry.key == PREFIX + "schema" for entry in model.metadata_props):
        raise AdoptionError(f"{path}: is a clf-edge model already: use it as it is (clf-predict --model {path})")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in _tensors(model)):
        how = "put them into it with onnx.save(onnx.load(FILE), NEW)"
        raise AdoptionError(f"{path}: keeps weights in other files (external data), which are not read: {how}")
    _unite_operator_sets(path, model)
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    ours = {(function.domain, function.name) for function in model.functions}
    own = {f"{n.domain}.{n.op_type}" for n in nodes if n.domain not in _DOMAINS and (n.domain, n.op_type) not in ours}
    if own:
        few = ", ".join(sorted(own)[:_FEW])
        raise AdoptionError(f"{path}: uses operators that are not ONNX's own ({few}): export it again without them")
    branching = {n.op_type for n in nodes if any(a.HasField("g") or a.graphs for a in n.attribute)}
    if branching:
        raise AdoptionError(f"{path}: has control flow ({', '.join(sorted(branching))}), which is not supported")
    if model.graph.sparse_initializer:
        raise AdoptionError(f"{path}: has sparse weights, which are not supported: export it with dense ones")
    return model


def _unite_operator_sets(path: Path, model: onnx.ModelProto) -> None:
    """Name each operator set once, ONNX's own by "". Raises AdoptionError for two versions, or one that is too new."""
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise AdoptionError(f"{path}: states two versions of the operator set {domain or 'ai.onnx'!r}")
    if not 1 <= versions.get("", 1) <= NEWEST_OPSET:
        found = versions[""]
        raise AdoptionError(
            f"{path}: has ONNX's operator set {found}, but this onnx knows 1 to {NEWEST_OPSET}: export it with opset 18"
        )
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        node.domain = "" if node.domain == "ai.onnx" else node.domain


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, but for those of subgraphs, which are refused."""
    yield from model.graph.initializer
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _find_output(path: Path, engine: Engine, wanted: str | None) -> int:
    """The place of the output with the scores: floats [batch, classes], perhaps with more axes of size 1."""
    names = [output.name for output in engine.outputs]
    if wanted is not None and wanted not in names:
        raise AdoptionError(f"{path}: has no output {wanted!r}; its outputs are {', '.join(names[:_FEW])}")
    possible = [
        place
        for place, output in enumerate(engine.outputs)
        if output.dtype in _FLOATS and len(output.shape) in (0, 2, 3, 4) and wanted in (None, output.name)
    ]
    if len(possible) == 1:
        return possible[0]
    if possible:
        few = ", ".join(names[place] for place in possible[:_FEW])
        raise AdoptionError(
            f"{path}: has several outputs of floats ({few}): also state the one with the scores (--output)"
        )
    kinds = ", ".join(f"{output.name} {output.dtype}" for output in engine.outputs[:_FEW])
    how = ""
    if any(output.dtype.startswith(("seq", "map")) for output in engine.outputs):
        how = ": export it again without ZipMap (skl2onnx: options={'zipmap': False})"
    raise AdoptionError(f"{path}: has no output of floats [batch, classes] ({kinds}){how}")
