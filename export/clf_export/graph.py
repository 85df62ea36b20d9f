"""A net and its preprocessing, as the bytes of one small, portable ONNX graph.

    image [batch, C, H, W] → cast, normalise → net → divide by the temperature → softmax → probabilities [batch, K]

Opset 18 and IR 8, which onnxruntime 1.17 reads; the exporter's own choice, IR 10, it does not.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import Tensor, nn

from clf_export.errors import TranslationError
from clf_runtime.errors import brief
from clf_train.evaluate import Normalisation

OPSET = 18
IR_VERSION = 8
INPUT, OUTPUT = "image", "probabilities"
_DTYPES = {"uint8": torch.uint8, "float32": torch.float32}


class _Deployed(nn.Module):
    """The whole way from an image to probabilities, as one module to be translated."""

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
        x = image.float()
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
    """Translate a net, with its preprocessing before and a softmax behind it, to ONNX.

    The input `image` is `dtype` [batch, *image_shape], the output `probabilities` float32 [batch, classes]. The result
    passed onnx's full check and holds neither names of local files nor stack traces.
    Raises TranslationError, naming what stands in the way, if the exporter cannot translate the net.
    """
    deployed = _Deployed(net, normalisation, temperature).eval()
    example = torch.zeros((2, *image_shape), dtype=_DTYPES[dtype])
    try:
        with _quiet():
            program = torch.onnx.export(
                deployed,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                optimize=True,
            )
    except Exception as error:  # the exporter wraps whatever it met
        cause = error.__cause__ or error
        raise TranslationError(f"the net cannot be translated to ONNX: {brief(cause, 300)}") from None
    assert program is not None
    model = program.model_proto
    _strip(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "clf-edge", ""
    onnx.checker.check_model(model, full_check=True)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress, hints and deprecation warnings off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes of its source: stack traces, module paths, signatures, unused shape hints."""
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del thing.metadata_props[:]
        if thing is not model:
            thing.doc_string = ""
    model.doc_string = ""
    del graph.value_info[:]
    graph.name = "clf-edge"
