"""A net and its preprocessing as one small, portable ONNX graph.

    image [batch, C, H, W] → cast, normalise → net → divide by the temperature → softmax → probabilities [batch, K]

Opset 18 and IR 8, which onnxruntime 1.17 reads, as it does not the exporter's default, IR 10.
"""

import contextlib
import re
import tempfile
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from clf_export.errors import TranslationError
from clf_export.graph.batch_guards import check_assumptions
from clf_export.graph.denormals import drop_denormals
from clf_export.graph.library_calls import interruptible, silenced
from clf_export.graph.rewrite import rewrite
from clf_runtime.errors import brief
from clf_train.data.normalisation import Normalisation
from clf_train.models.own import describe_error

OPSET = 18
IR_VERSION = 8
INPUT, OUTPUT, BATCH = "image", "probabilities", "batch"
_DTYPES = {"uint8": torch.uint8, "float32": torch.float32}
# What the exporter says when an operator has no ONNX equivalent, and how its report lists all of them.
_WHILE_TRANSLATING = "Error when translating node"
_OF_THE_BATCH = re.compile(rf"Constraints violated \({BATCH}\)|Expected op to be .* for {BATCH} ")
_NODE = re.compile(r"target=torch\.ops\.([\w.]+)")
_REPORT_HEADING = "Errors grouped by operator"
_REPORTED = re.compile(r"^- `([^`]+)`:", re.MULTILINE)


class _Deployed(nn.Module):
    """From an image to probabilities, as one module to be translated."""

    def __init__(self, net: nn.Module, normalisation: Normalisation, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, -1, 1, 1))
        self.temperature = temperature
        self.shifts = any(normalisation.mean)
        self.scales = any(s != 1 for s in normalisation.std)

    def forward(self, image: Tensor) -> Tensor:
        """Uint8 or float32 [B, C, H, W] → float32 [B, K]."""
        x = image.float() if self.shifts or self.scales else image.float().clone()  # the net may modify it in place
        if self.shifts:
            x = x - self.mean
        if self.scales:
            x = x / self.std
        scores = self.net(x)
        if self.temperature != 1:
            scores = scores / self.temperature
        return torch.softmax(scores, dim=1)


def build_graph(
    net: nn.Module,
    normalisation: Normalisation,
    temperature: float,
    image_shape: tuple[int, int, int],
    dtype: str,
) -> onnx.ModelProto:
    """Translate a net, with its preprocessing and a softmax, to ONNX, and optimise the graph.

    The input `image` is `dtype` [batch, *image_shape], the output `probabilities` float32 [batch, classes]. The result
    has passed onnx's full check and holds neither local paths nor stack traces; equal nets give equal bytes.
    Raises TranslationError with the reason if the exporter cannot translate the net, or not for every batch size.
    """
    model = translate(net, normalisation, temperature, image_shape, dtype)
    rewrite(model)
    drop_denormals(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def translate(
    net: nn.Module,
    normalisation: Normalisation,
    temperature: float,
    image_shape: tuple[int, int, int],
    dtype: str,
) -> onnx.ModelProto:
    """Like build_graph, but with the graph as the exporter made it."""
    deployed = _Deployed(net, normalisation, temperature).eval()
    _check_forward(deployed, torch.zeros((3, *image_shape), dtype=_DTYPES[dtype]))
    example = torch.zeros((2, *image_shape), dtype=_DTYPES[dtype])
    try:
        program = _export(deployed, example)
    except Exception as error:  # the exporter wraps whatever it met
        raise TranslationError(f"the net cannot be exported to ONNX: {_reason(error, deployed, example)}") from None
    assert program is not None
    check_assumptions(program, BATCH)
    model = program.model_proto
    _strip(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "clf-edge", ""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # of the checker or of shape inference, as where forward() computes in bfloat16
        raise TranslationError(f"the exported graph is not valid ONNX: {brief(error, 300)}") from None
    return model


def _export(deployed: nn.Module, example: Tensor, report_in: Path | None = None) -> torch.onnx.ONNXProgram | None:
    """Call the exporter; with `report_in`, it writes its report into that folder if it fails."""
    with silenced(), interruptible():
        return torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            external_data=False,
            optimize=True,
            report=report_in is not None,
            artifacts_dir=report_in or ".",
        )


def _reason(error: Exception, deployed: nn.Module, example: Tensor) -> str:
    """Why a translation failed, in one line: the operators without an ONNX equivalent, if that is the reason."""
    cause = error.__cause__ or error
    if type(cause).__name__ == "GuardOnDataDependentSymNode":
        return f"forward() branches on the values of an image, which an ONNX graph cannot express ({brief(cause, 120)})"
    if _OF_THE_BATCH.search(str(cause)):
        return "forward() depends on the batch size, which an ONNX graph cannot express"
    if _WHILE_TRANSLATING not in str(cause):
        return brief(cause, 300)
    operators = _untranslatable(deployed, example)
    if operators:
        return f"no ONNX equivalent for {', '.join(operators)}"
    node = _NODE.search(str(cause))
    while cause.__cause__ is not None:
        cause = cause.__cause__
    why, _, _ = brief(cause, 160).partition(" Signature: ")
    return f"the exporter fails at {node[1]}: {why}" if node else why


def _untranslatable(deployed: nn.Module, example: Tensor) -> list[str]:
    """Names of all operators that the exporter cannot translate, from its own report; empty if it names none."""
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(Exception):
            _export(deployed, example, Path(folder))
        reports = [file.read_text("utf-8", errors="replace") for file in sorted(Path(folder).glob("*.md"))]
    found = {name for text in reports for name in _REPORTED.findall(text.partition(_REPORT_HEADING)[2])}
    return sorted(found)


def _check_forward(deployed: nn.Module, images: Tensor) -> None:
    """Raise TranslationError if the net does not give one row of scores per image for batches of several sizes."""
    for count in range(1, len(images) + 1):
        try:
            with torch.inference_mode():
                shape = list(deployed(images[:count]).shape)
        except Exception as error:
            raise TranslationError(f"the net fails on a batch of {count}: {describe_error(error)}") from None
        if len(shape) != 2 or shape[0] != count:
            raise TranslationError(f"the net gives {shape} for a batch of {count}, expected [{count}, classes]")


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter records of the source: stack traces, module paths, signatures, unused shape hints."""
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del thing.metadata_props[:]
        if thing is not model:
            thing.doc_string = ""
    model.doc_string = ""
    del graph.value_info[:]
    graph.name = "clf-edge"
