"""Triton on a delivery: `python run_triton.py FOLDER IMAGES.npy ANSWERS.npy`.

The server of nvidia-pytriton loads the folder as it is, fills nothing in, and is asked over HTTP. Its wheel has only
the backend for Python, so one of the name onnxruntime is put beside it, which runs the file in Python's onnxruntime in
place of the C++ one ("Python-based backends" in https://github.com/triton-inference-server/backend).
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
import pytriton

BACKEND = """
import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton

TYPES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}


class TritonPythonModel:
    def initialize(self, given):
        folder = Path(given["model_repository"], given["model_version"])
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        self.input, self.outputs = self.session.get_inputs()[0].name, [o.name for o in self.session.get_outputs()]
        config = json.loads(given["model_config"])
        self.compare(config, config["input"], self.session.get_inputs())
        self.compare(config, config["output"], self.session.get_outputs())

    def compare(self, config, stated, real):
        # config.pbtxt against the file, as the backend in C++ does
        batch = [-1] if config["max_batch_size"] else []
        shapes = [batch + s.get("reshape", {"shape": s["dims"]})["shape"] for s in stated]
        said = [(s["name"], TYPES[s["data_type"]], shape) for s, shape in zip(stated, shapes)]
        there = [(r.name, r.type, [d if isinstance(d, int) else -1 for d in r.shape]) for r in real]
        if said != there:
            raise triton.TritonModelException(f"config.pbtxt says {said}, the file has {there}")

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        image = triton.get_input_tensor_by_name(request, self.input).as_numpy()
        wanted = [name for name in self.outputs if name in request.requested_output_names()]
        answers = self.session.run(wanted, {self.input: image})
        return triton.InferenceResponse([triton.Tensor(n, np.ascontiguousarray(a)) for n, a in zip(wanted, answers)])
"""
SECONDS = 120  # until the server is ready, and of a request
TYPES = {"uint8": "UINT8", "float32": "FP32"}

place, images = Path(sys.argv[1]), np.load(sys.argv[2])
server = Path(pytriton.__file__).parent / "tritonserver"
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
address = f"http://127.0.0.1:{port}/v2"
model = f"/models/{quote(place.name)}"


def start(backends: Path) -> subprocess.Popen[bytes]:
    """Start the server with the two backends in a folder, where its log goes too."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = backends / "python" / "triton_python_backend_stub"
    shutil.copytree(server / "backends" / "python", stub.parent)
    shutil.copy(server / "python_backend_stubs" / python / stub.name, stub)
    (backends / "onnxruntime").mkdir()
    (backends / "onnxruntime" / "model.py").write_text(BACKEND, "utf-8")
    program = server / "bin" / "tritonserver"
    for file in (program, stub):
        file.chmod(0o755)
    options = {
        "model-repository": place.parent,
        "model-control-mode": "explicit",
        "load-model": place.name,
        "backend-directory": backends,
        "http-address": "127.0.0.1",
        "http-port": port,
        "allow-grpc": "false",
        "allow-metrics": "false",
    }
    libraries = (str(server.parents[1] / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR"))
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # of the backend's Python
    }
    command = [str(program), "--disable-auto-complete-config", *(f"--{key}={value}" for key, value in options.items())]
    with (backends / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def wait_until_ready(running: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server has loaded the model; exit with what it says if it does not."""
    end = time.monotonic() + SECONDS
    while running.poll() is None and time.monotonic() < end:
        try:
            ask(f"{model}/ready")
            return
        except OSError:  # not there yet, or not ready
            time.sleep(0.2)
    errors = [
        line for line in log.read_text("utf-8", "replace").splitlines() if line[0:1] == "E" and "Cuda" not in line
    ]
    sys.exit(errors[-1].split("] ", 1)[-1] if errors else "the server is not ready, and does not say why")


def ask(path: str, body: dict[str, Any] | None = None) -> Any:
    """What the server answers to a request, in JSON; exits with its words if it refuses one that has a body."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(f"{address}{path}", data), timeout=SECONDS) as answer:
            return json.loads(answer.read() or b"{}")
    except HTTPError as error:
        if body is None:
            raise
        sys.exit(f"the server refuses a request: {error.read().decode('utf-8', 'replace')}")


def infer(batch: np.ndarray, outputs: list[dict[str, Any]]) -> list[np.ndarray]:
    """The outputs that the server gives for a batch."""
    values = {"name": known["inputs"][0]["name"], "datatype": TYPES[batch.dtype.name], "shape": batch.shape}
    body = {"inputs": [{**values, "data": batch.ravel().tolist()}], "outputs": outputs}
    answers = {answer["name"]: answer for answer in ask(f"{model}/infer", body)["outputs"]}
    return [np.array(answers[o["name"]]["data"]).reshape(answers[o["name"]]["shape"]) for o in outputs]


with tempfile.TemporaryDirectory() as scratch:
    running = start(Path(scratch))
    try:
        wait_until_ready(running, Path(scratch) / "log")
        told, known = ask("")["version"], ask(model)
        one_each = known["inputs"][0]["shape"][0] != -1
        outputs = [{"name": output["name"]} for output in known["outputs"]]
        parts = [infer(batch, outputs) for batch in (images[:, None] if one_each else images[None])]
        answers, *others = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        for other in others:  # one number an image
            assert other.size == len(images), other.shape
            assert np.isfinite(other).all(), other
        labels = (place / "labels.txt").read_text("utf-8").splitlines()
        for image, row in zip(images[:, None], answers, strict=True):  # the extension that gives classes
            [text] = infer(image, [{**outputs[0], "parameters": {"classification": 1}}])[0].ravel()
            assert text.split(":", 2)[1:] == [str(row.argmax()), labels[row.argmax()]], text
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
np.save(sys.argv[3], answers.astype(np.float32))
print(version("nvidia-pytriton"), f"with server {told}, its Python backend and onnxruntime {version('onnxruntime')}")
