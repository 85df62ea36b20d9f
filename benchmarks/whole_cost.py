"""From a JPEG on disk to the answer, ours beside a bare script of Pillow and onnxruntime: time, memory, cold and warm.

    python benchmarks/whole_cost.py [MODEL.onnx] [--pairs N] [--openvino FILE] [--ultralytics FILE]

The photographs are drawn: 640x480 and 4000x3000. Cold is a process from its start to its end, `clf-predict` as its
entry point starts it, beside the script below; warm is one photograph after another in a process that has answered
some, `answer_files` beside the script's loop. Each figure is the median of the ratios of N pairs that ran alternately,
ours to bare; times of this machine mean little. Memory is the peak (VmHWM) of the cold process. FILE is what
`clf-export MODEL --for openvino` or `--for ultralytics` wrote: the tool's own prediction is measured warm too, relative
to bare, with a Python that has the tool beside numpy, onnxruntime, Pillow and typer. The last line is JSON.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "runtime"))  # for a Python that has a tool, and not clf-edge
SIZES = ((640, 480), (4000, 3000))  # width, height
BARE = """
import os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
import onnxruntime
from PIL import Image
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
height, width = session.get_inputs()[0].shape[2:]
def answer(file):
    picture = Image.open(file).convert("RGB").resize((width, height), Image.BILINEAR)
    scores = session.run(None, {"image": np.asarray(picture).transpose(2, 0, 1)[None]})[0][0]
    return int(scores.argmax()), float(scores.max())
"""
OURS = "import sys\nfrom clf_runtime.commands.predict import main, program\n"
PEAK = "print([l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1], file=sys.stderr)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=str(ROOT / "artifacts/conv.onnx"), metavar="MODEL")
    parser.add_argument("--pairs", type=int, default=15, metavar="N")
    parser.add_argument("--openvino", metavar="FILE", help="for OpenVINO's Model API")
    parser.add_argument("--ultralytics", metavar="FILE", help="for Ultralytics")
    options = parser.parse_args()
    tools: dict[str, Callable[[Path], object]] = {}
    if options.openvino:
        tools["openvino"] = model_api(options.openvino)
    if options.ultralytics:
        tools["ultralytics"] = ultralytics(options.ultralytics)
    record: dict[str, object] = {"model": Path(options.model).name, "pairs": options.pairs}
    with tempfile.TemporaryDirectory(prefix="clf-whole-cost-") as folder:
        for width, height in SIZES:
            photo = Path(folder) / f"{width}.jpg"
            draw(width, height).save(photo, quality=90)
            found = {
                "cold_time": cold(options.model, photo, options.pairs, "time"),
                "cold_processor_time": cold(options.model, photo, options.pairs, "processor"),
                "cold_memory": cold(options.model, photo, 3, "memory"),
                **warm(options.model, photo, options.pairs, tools),
            }
            record[f"{width}x{height}"] = found
            print(f"{width}x{height}: " + ", ".join(f"{name} {ratio:.3f}" for name, ratio in found.items()))
    print(json.dumps(record))


def draw(width: int, height: int) -> Image.Image:
    """A picture with edges, colours and noise, as a camera's has; the same every time."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return Image.fromarray((smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8))


def cold(model: str, photo: Path, pairs: int, what: str) -> float:
    """The median ratio of the two processes: of their time, of their processor's time, or of their peak memory."""
    end = f"\n{PEAK}" if what == "memory" else ""
    ours = f"{OURS}try: main()\nexcept SystemExit: pass{end}" if end else f"{OURS}program()"
    bare = f"{BARE}print(*answer(sys.argv[2])){end}"
    commands = ([ours, str(photo), "--model", model], [bare, model, str(photo)])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(ROOT / "runtime")

    def measure(command: list[str]) -> float:
        start, used = time.perf_counter(), processor_time()
        done = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, env=environment)
        found = time.perf_counter() - start if what == "time" else processor_time() - used
        if done.returncode or not done.stdout:
            sys.exit(f"a process failed: {done.stderr[-300:]}")
        return float(done.stderr.split()[-1]) if what == "memory" else found

    for command in commands:  # writes the bytecode, reads the files into memory
        measure(command)
    return paired([lambda c=command: measure(c) for command in commands], pairs)[0]


def processor_time() -> float:
    """Seconds of processor that the ended children took, which other programs change less than the time on the wall."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def warm(model: str, photo: Path, pairs: int, tools: dict[str, Callable[[Path], object]]) -> dict[str, float]:
    """The median ratios of one answer in a warm process: ours to bare, and each tool's to bare."""
    from clf_runtime import Classifier, answer_files

    space: dict[str, object] = {}
    argv, sys.argv = sys.argv, ["", model]
    exec(BARE, space)
    sys.argv = argv
    bare = space["answer"]
    classifier = Classifier.load(model, device="cpu")
    count = max(1, 3_000_000 // photo.stat().st_size)  # photographs per measurement

    def ours() -> None:
        for answer in answer_files(classifier, [photo] * count):
            assert answer.error is None

    def theirs() -> None:
        for _ in range(count):
            bare(photo)  # type: ignore[operator]

    calls = [ours, theirs, *((lambda t=tool: [t(photo) for _ in range(count)]) for tool in tools.values())]
    ratios = paired([lambda c=call: seconds(c) for call in calls], pairs)
    return {"warm_time": ratios[0], **{f"warm_{n}_to_bare": r for n, r in zip(tools, ratios[1:], strict=True)}}


def model_api(file: str) -> Callable[[Path], object]:
    """OpenVINO Model API's own prediction of a picture, which OpenCV reads, on one thread."""
    import cv2
    from model_api.adapters import OpenvinoAdapter, create_core
    from model_api.models import Model

    settings = {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_NUM_THREADS": 1}
    loaded = Model.create_model(
        OpenvinoAdapter(create_core(), file, device="CPU", plugin_config=settings), preload=True
    )
    return lambda photo: loaded(cv2.imread(str(photo)))


def ultralytics(file: str) -> Callable[[Path], object]:
    """Ultralytics' own prediction of a picture's file, by onnxruntime."""
    from ultralytics import YOLO

    loaded = YOLO(file, task="classify")
    return lambda photo: loaded.predict(photo, verbose=False, device="cpu")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired(calls: list[Callable[[], float]], pairs: int) -> list[float]:
    """Run the calls alternately, and return the median ratio of each to the second, which is bare; itself left out."""
    for call in calls:
        call()
    rounds = []
    for index in range(pairs):
        order = list(range(len(calls)))[:: 1 if index % 2 else -1]
        found = {i: calls[i]() for i in order}
        rounds.append([found[i] / found[1] for i in range(len(calls)) if i != 1])
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


if __name__ == "__main__":
    main()
