import os
import subprocess
import sys
from types import SimpleNamespace

import onnxruntime
import pytest

from clf_runtime import DeviceError, MissingExtraError, ModelError
from clf_runtime.engine import ort as module
from clf_runtime.engine.engine import open_engine
from clf_runtime.engine.ort_library import find_provider, import_onnxruntime

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class StandIn:
    """An onnxruntime that claims to have CUDA, whose CUDA sessions do what a test says."""

    __version__ = "1.32.0"
    SessionOptions = onnxruntime.SessionOptions
    ExecutionMode = onnxruntime.ExecutionMode
    __file__ = None

    def __init__(self, on_cuda):
        self.on_cuda = on_cuda
        self.asked = []

    def get_available_providers(self):
        return [CUDA, CPU]

    def InferenceSession(self, model, options, providers, enable_fallback):  # noqa: N802
        self.asked.append((providers, options, enable_fallback))
        if providers == [CPU]:
            return onnxruntime.InferenceSession(model, options, providers=providers)
        return self.on_cuda(model)


def fails(model):
    raise RuntimeError("libcublasLt.so.12:\n cannot open shared object file")


def falls_back(model):
    return onnxruntime.InferenceSession(model, providers=[CPU])


def fails_when_run(model):
    def run(outputs, inputs):
        raise RuntimeError("no kernel image is available for execution on the device")

    inputs = [SimpleNamespace(name="image", shape=["batch", 3, 8, 8], type="tensor(uint8)")]
    return SimpleNamespace(get_providers=lambda: [CUDA], get_inputs=lambda: inputs, run=run)


def works(model):
    real = onnxruntime.InferenceSession(model, providers=[CPU])
    described = {name: getattr(real, name) for name in ("get_inputs", "get_outputs", "get_modelmeta", "run")}
    return SimpleNamespace(get_providers=lambda: [CUDA, CPU], **described)


@pytest.fixture
def stand_in(monkeypatch):
    def make(on_cuda):
        ort = StandIn(on_cuda)
        monkeypatch.setattr(module, "import_onnxruntime", lambda log=None: ort)
        return ort

    return make


def test_the_cpu_is_taken_where_the_wheel_has_no_cuda(tiny_model):
    opened = open_engine(tiny_model(), "m.onnx", device="auto")
    assert (opened.provider, opened.notes) == (CPU, ())


def test_cuda_is_refused_where_the_wheel_has_none(tiny_model):
    with pytest.raises(DeviceError, match=r"built without it.*clf-edge\[gpu\]"):
        open_engine(tiny_model(), "m.onnx", device="cuda")


def test_auto_takes_cuda_when_it_works(stand_in, tiny_model):
    ort = stand_in(works)
    assert open_engine(tiny_model(), "m.onnx", device="auto").provider == CUDA
    [(providers, options, enable_fallback)] = ort.asked
    assert providers == [(CUDA, {"use_tf32": "0"})]
    assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
    assert enable_fallback == 0


@pytest.mark.parametrize(
    ("on_cuda", "reason"),
    [
        (fails, "libcublasLt.so.12: cannot open"),
        (falls_back, "on CPUExecutionProvider instead"),
        (fails_when_run, "no kernel"),
    ],
)
def test_cuda_that_does_not_work_is_refused_with_the_reason_and_auto_says_so(stand_in, tiny_model, on_cuda, reason):
    stand_in(on_cuda)
    with pytest.raises(DeviceError, match=reason) as error:
        open_engine(tiny_model(), "m.onnx", device="cuda")
    assert "\n" not in str(error.value)
    opened = open_engine(tiny_model(), "m.onnx", device="auto")
    assert opened.provider == CPU
    assert reason in opened.notes[0]


def test_cpu_never_asks_for_cuda(stand_in, tiny_model):
    ort = stand_in(fails)
    assert open_engine(tiny_model(), "m.onnx", device="cpu").provider == CPU
    assert [providers for providers, _, _ in ort.asked] == [[CPU]]


def test_a_file_that_is_no_model_is_the_model_s_fault_on_cuda_too(stand_in):
    stand_in(fails)
    with pytest.raises(ModelError, match=r"m\.onnx: not an ONNX model"):
        open_engine(b"nonsense", "m.onnx", device="cuda")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x08\x08"])
def test_what_is_no_model_is_refused_in_one_line_and_nothing_is_printed(data, capfd):
    with pytest.raises(ModelError, match=r"m\.onnx: not an ONNX model") as error:
        open_engine(data, "m.onnx")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_session_has_one_thread_that_does_not_spin(stand_in, tiny_model):
    ort = stand_in(fails)
    open_engine(tiny_model(), "m.onnx", device="cpu")
    [(_, options, _)] = ort.asked
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("device", ["gpu", "", "CPUExecutionProviderX", "../cpu"])
def test_an_unknown_device_is_refused_with_what_there_is(tiny_model, device):
    with pytest.raises(DeviceError, match=r"unknown device .*; the installed onnxruntime has auto, .*cpu"):
        open_engine(tiny_model(), "m.onnx", device=device)


def test_any_provider_of_the_wheel_is_found_by_its_name():
    available = ["OpenVINOExecutionProvider", "CoreMLExecutionProvider", CPU]
    for device in ("coreml", "CoreML", "CoreMLExecutionProvider", "coremlexecutionprovider"):
        assert find_provider(device, available) == "CoreMLExecutionProvider"


@pytest.mark.parametrize("fault", [False, True])
def test_libraries_of_cuda_are_loaded_before_it_is_asked_for_and_quietly(stand_in, tiny_model, capfd, fault):
    ort = stand_in(works)

    def preload():
        ort.asked.append("preloaded")
        print("Failed to load libcudnn.so.9")
        if fault:
            raise RuntimeError("no such folder")

    ort.preload_dlls = preload
    assert open_engine(tiny_model(), "m.onnx", device="cuda").provider == CUDA
    assert [asked if asked == "preloaded" else asked[0][0][0] for asked in ort.asked] == ["preloaded", CUDA]
    assert capfd.readouterr() == ("", "")
    ort.asked.clear()
    open_engine(tiny_model(), "m.onnx", device="cpu")
    assert "preloaded" not in ort.asked


def test_another_provider_runs_or_is_refused_like_cuda(stand_in, tiny_model):
    ort = stand_in(
        lambda model: SimpleNamespace(**{**vars(works(model)), "get_providers": lambda: ["XExecutionProvider"]})
    )
    ort.get_available_providers = lambda: ["XExecutionProvider", CPU]
    assert open_engine(tiny_model(), "m.onnx", device="x").provider == "XExecutionProvider"
    [(providers, options, _)] = ort.asked
    assert providers == [("XExecutionProvider", {})]
    assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
    ort.on_cuda = falls_back
    with pytest.raises(DeviceError, match="X does not work here: onnxruntime opened the session on CPU"):
        open_engine(tiny_model(), "m.onnx", device="x")


def test_what_the_wheel_really_has_besides_never_falls_back(tiny_model):
    for provider in set(onnxruntime.get_available_providers()) - {CPU}:
        try:
            assert open_engine(tiny_model(), "m.onnx", device=provider).provider == provider
        except DeviceError as error:
            assert "does not work here" in str(error)  # noqa: PT017 - either is right, a fall back is not


def test_tf32_is_off_unless_asked_for(stand_in, tiny_model):
    ort = stand_in(works)
    open_engine(tiny_model(), "m.onnx", device="cuda", tf32=True)
    assert ort.asked[0][0] == [(CUDA, {"use_tf32": "1"})]


def test_a_library_that_does_not_load_is_named(stand_in, tiny_model, tmp_path):
    ort = stand_in(falls_back)
    ort.__file__ = str(tmp_path / "onnxruntime" / "__init__.py")
    capi = tmp_path / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    for name in ("shared", "cuda"):
        (capi / f"libonnxruntime_providers_{name}.so").write_bytes(b"no library")
    with pytest.raises(DeviceError, match=r"CUDA does not work here: a library fails to load: .*providers_shared\.so"):
        open_engine(tiny_model(), "m.onnx", device="cuda")


def test_telemetry_is_off_before_onnxruntime_loads_unless_somebody_decided():
    code = "import os; from clf_runtime.engine.ort_library import import_onnxruntime as load; load(); "
    code += "print(os.environ[VARIABLE])"
    code = code.replace("VARIABLE", "'ORT_DISABLE_TELEMETRY'")
    for given, expected in ((None, "1"), ("0", "0")):
        environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        if given is not None:
            environment["ORT_DISABLE_TELEMETRY"] = given
        printed = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert printed.stdout.strip() == expected


def test_a_missing_onnxruntime_is_answered_with_the_install_line(monkeypatch):
    monkeypatch.setattr("clf_runtime.engine.system_package.has_wheel", lambda: True)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"clf-edge\[cpu\]\""):
        import_onnxruntime()


def test_what_onnxruntime_says_is_shown_without_the_place_in_its_source(tiny_model):
    with pytest.raises(ModelError, match=r"can run: (Failed to load model with error: )?Unsupported model IR"):
        open_engine(tiny_model().replace(b"\x08\x08", b"\x08\x63", 1), "m.onnx", device="cpu")


PADDED = b"\x80" * 8 + b"\x00"


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (b"\x0a\x08", True),
        (b"location\x0a\x08", True),
        (b"\x8a\x80\x00\x08", True),
        (b"\x0a\x88\x80\x80\x00", True),
        (b"\x8a" + PADDED + b"\x88" + PADDED, True),
        (b"", False),
        (b"\x0a\x09", False),
        (b"\x12\x08", False),
    ],
)
def test_external_data_is_seen_in_any_encoding_of_its_key(before, found):
    model = b"\x08\x08" + before + b"location\x12\x05w.bin"
    with pytest.raises(ModelError, match="external data" if found else "not an ONNX model"):
        open_engine(model, "m.onnx")
