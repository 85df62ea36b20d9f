"""onnxruntime as an engine, configured for small models on a device: one thread, and no silent fallback."""

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from clf_runtime.engine.engine import RunSingle, TensorInfo
from clf_runtime.engine.ort_library import (
    CPU,
    CUDA,
    find_provider,
    import_onnxruntime,
    library_fault,
    preload_cuda,
    severity,
    short_name,
)
from clf_runtime.engine.system_package import without_schema_errors
from clf_runtime.errors import DeviceError, ModelError, brief

# The key of an entry of TensorProto.external_data, in any encoding that protobuf allows.
_LOCATION = b"location"
_EXTERNAL_DATA = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)\Z")
_KEY_BYTES = 20  # that may precede it: two varints of ten bytes, the longest in protobuf
_SOURCE_PLACE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])")
_PARTLY = "fallback to CPU EP has been explicitly disabled"  # onnxruntime's words for nodes left to the CPU
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}  # the others have numpy's names


class OrtEngine:
    """An open session as an Engine. Names and metadata are read at once, since onnxruntime decodes them lazily."""

    def __init__(self, session: Any, provider: str, notes: tuple[str, ...] = ()) -> None:
        """Take a session and the provider that runs it. Raises UnicodeDecodeError for names that are not UTF-8."""
        self._session, self._run = session, session.run
        self.provider, self.notes, self.on_cpu = provider, notes, provider == CPU
        self.inputs: Sequence[TensorInfo] = [_info(node) for node in session.get_inputs()]
        self.outputs: Sequence[TensorInfo] = [_info(node) for node in session.get_outputs()]
        self.metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        self._input = self.inputs[0].name if self.inputs else ""
        self._first = [output.name for output in self.outputs[:1]]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See Engine."""
        try:
            answer: np.ndarray = self._run(self._first, {self._input: batch})[0]
        except Exception as error:
            raise _as_model_error(error) from None
        return answer

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """See Engine."""
        try:
            answers: list[np.ndarray] = self._run(None, {self._input: batch})
        except Exception as error:
            raise _as_model_error(error) from None
        return answers

    def bind_single(self, size: int, outputs: int = 1) -> RunSingle | None:
        """See Engine: on the CPU, for uint8 or float32 in and float32 out.

        With onnxruntime's IOBinding (https://onnxruntime.ai/docs/api/python/api_summary.html#iobinding), which saves
        lookups and allocations for each image: a tenth of the time of a small model (docs/runtime.md).
        """
        taken, given = self.inputs[0], self.outputs[:outputs]
        if not self.on_cpu or taken.dtype not in ("uint8", "float32") or {o.dtype for o in given} != {"float32"}:
            return None
        dtype = np.dtype(taken.dtype).type
        shape = (1, *(size for size in taken.shape[1:] if isinstance(size, int)))
        session, run = self._session, self._session.run_with_iobinding
        free: list[tuple[Any, np.ndarray, np.ndarray]] = []  # its pop and append are atomic

        def buffers() -> tuple[Any, np.ndarray, np.ndarray]:
            image, answer = np.zeros(shape, dtype), np.zeros(size + outputs - 1, np.float32)
            binding = session.io_binding()
            binding.bind_input(taken.name, "cpu", 0, dtype, shape, image.ctypes.data)
            parts = (answer[:size].reshape(1, size), *(answer[i : i + 1] for i in range(size, len(answer))))
            for output, part in zip(given, parts, strict=True):
                binding.bind_output(output.name, "cpu", 0, np.float32, part.shape, part.ctypes.data)
            return binding, image, answer

        def run_single(image: np.ndarray) -> list[float]:
            try:
                mine = free.pop()
            except IndexError:
                mine = buffers()
            binding, buffer, answer = mine
            buffer[...] = image
            try:
                run(binding)
            except Exception as error:  # the buffers are dropped
                raise _as_model_error(error) from None
            row: list[float] = answer.tolist()
            free.append(mine)
            return row

        return run_single


def _info(node: Any) -> TensorInfo:
    dtype = _DTYPES.get(node.type) or node.type.removeprefix("tensor(").removesuffix(")")
    return TensorInfo(node.name, dtype, tuple(node.shape))


def _as_model_error(error: Exception) -> Exception:
    """An exception of onnxruntime, which have no common base, as a ModelError; any other is returned unchanged."""
    is_its = type(error).__module__.startswith("onnxruntime") or type(error) in (RuntimeError, ValueError, TypeError)
    return ModelError(_plain(error)) if is_its else error


def open_engine(
    model: bytes, where: str, *, device: str, tf32: bool = False, log: str | None = None, optimised: bool = True
) -> OrtEngine:
    """Open a session over the bytes of an `.onnx` file: see engine.open_engine."""
    if _has_external_data(model):
        raise ModelError(f"{where}: keeps weights in other files (external data), which is not supported")
    ort = import_onnxruntime(log)
    options = _options(ort, log, optimised)
    available = ort.get_available_providers()
    provider = CPU if device == "auto" and CUDA not in available else find_provider(device, available)
    try:
        with without_schema_errors(ort):
            if provider == CPU:
                return OrtEngine(_open_on_cpu(ort, model, where, options), CPU)
            try:
                return OrtEngine(_open_on(ort, provider, model, where, tf32, options), provider)
            except DeviceError as error:
                if device != "auto":
                    raise
                note = f"running on the CPU: {error}"
            return OrtEngine(_open_on_cpu(ort, model, where, _options(ort, log, optimised)), CPU, (note,))
    except UnicodeDecodeError:  # onnxruntime decodes names and metadata lazily
        raise ModelError(f"{where}: its names or its metadata are not UTF-8") from None


def _has_external_data(model: bytes) -> bool:
    """Whether a tensor has external data. Searching for the plain word first is 15 times as fast."""
    at = model.find(_LOCATION)
    while at >= 0:
        if _EXTERNAL_DATA.search(model[max(0, at - _KEY_BYTES) : at]):
            return True
        at = model.find(_LOCATION, at + 1)
    return False


def _open_on_cpu(ort: ModuleType, model: bytes, where: str, options: Any) -> Any:
    try:
        return ort.InferenceSession(model, options, providers=[CPU], enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no common base but Exception
        raise ModelError(
            f"{where}: not an ONNX model that onnxruntime {ort.__version__} can run: {_plain(error)}"
        ) from None


def _open_on(ort: ModuleType, provider: str, model: bytes, where: str, tf32: bool, options: Any) -> Any:
    """Open a session on a provider other than the CPU's, and run it once, since some errors only show then.

    Fallback to the CPU is disabled; by default onnxruntime falls back to it and only logs that
    (https://onnxruntime.ai/docs/execution-providers/).
    """
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if provider == CUDA:
        preload_cuda(ort)
    settings = {"use_tf32": str(int(tf32))} if provider == CUDA and _version(ort) >= (1, 18) else {}
    try:
        session = ort.InferenceSession(model, options, providers=[(provider, settings)], enable_fallback=0)
        found = session.get_providers()
        if provider not in found:
            reason = library_fault(ort, provider) or f"onnxruntime opened the session on {', '.join(found)} instead"
            raise RuntimeError(reason)
        _answer_once(session)
    except Exception as error:
        # If the file is not a model, that is not the device's fault.
        _open_on_cpu(ort, model, where, _options(ort, None, optimised=True))
        reason = _plain(error)
        if _PARTLY in reason:
            reason = "it lacks operators of this model, and what it lacks would run on the CPU, unasked; --device cpu"
        raise DeviceError(f"{short_name(provider)} does not work here: {reason}") from None
    return session


def _options(ort: ModuleType, log: str | None, optimised: bool) -> Any:
    """One thread that does not spin: at less than 0.1 ms per image, handing work to threads costs more than it saves.

    docs/runtime.md has the effect of each setting. Several threads each run the session on their own images.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Not onnxruntime's own format, in which external data could not be detected.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = severity(log)
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _answer_once(session: Any) -> None:
    inputs = {}
    for node in session.get_inputs():
        shape = [n if isinstance(n, int) else 1 for n in node.shape]
        inputs[node.name] = np.zeros(shape, np.uint8 if node.type == "tensor(uint8)" else np.float32)
    session.run(None, inputs)


def _plain(error: Exception) -> str:
    """The message of onnxruntime without the location in its source that precedes it."""
    return brief(Exception(_SOURCE_PLACE.sub("", str(error))))


def _version(ort: ModuleType) -> tuple[int, int]:
    major, minor = ort.__version__.split(".")[:2]
    return int(major), int(minor)
