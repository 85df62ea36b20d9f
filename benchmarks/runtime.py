"""The overhead of our runtime over bare onnxruntime: latency, throughput, cold start, memory, idle processor time.

    python benchmarks/runtime.py [MODEL.onnx...] [--seconds S]

MODEL takes uint8 or float32 images; the default are models of a checkout. Every figure is a pair, measured alternately
in one run; what matters are the ratios, ours to bare. OpenVINO (in float32 and, where that is another precision, as it
comes), PyTorch and LiteRT are measured too if installed, with the precision that each computes in;
LiteRT needs MODEL.tflite beside MODEL.onnx, from to_litert.py. The last line is JSON.
"""

import argparse
import importlib.metadata
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
import onnxruntime
from contenders import contenders

from clf_runtime import Classifier, answer_files, answer_stream
from clf_runtime.engine.threads import usable_processors

ROOT = Path(__file__).parents[1]
BARE = """
import os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
answer = session.run(None, {"image": np.load(sys.argv[2])[None]})[0][0]
print(answer.argmax(), answer.max())
"""


def bare_session(model: str, threads: int = 1, **settings: str):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for name, value in settings.items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def some_images(card, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    low, high = card.value_range
    shape = (count, *card.image_shape)
    if card.dtype == "uint8":
        return rng.integers(int(low), int(high), shape, np.uint8, endpoint=True)
    return rng.uniform(low, high, shape).astype(np.float32)


def in_turns(seconds: float, **sides) -> dict[str, float]:
    """Median seconds of a call of each side, alternating a few calls at a time, in changing order."""
    for call in sides.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in sides}
    end, names = time.perf_counter() + seconds, list(sides)
    while time.perf_counter() < end or len(times[names[0]]) < 20:
        names = names[1:] + names[:1]
        for name in names:
            for _ in range(4):
                begun = time.perf_counter()
                sides[name]()
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in times.items()}


def latency(model: str, seconds: float, batch: int) -> dict:
    """Microseconds per image: ours, bare with one thread, and bare with defaults; the ratio is ours to bare.

    For a batch, ours gives the arrays of class and probability; records_ratio is a list of Prediction relative to bare,
    and list_to_ours a list of single images relative to one array of them.

    And the contenders', relative to ours: alternating with ours, but after the first pair, since whatever runs between
    two calls evicts the caches, and a thread that spins after its call slows down the next one.
    """
    classifier, session = Classifier.load(model, device="cpu"), bare_session(model)
    images = some_images(classifier.card, batch)
    name, one = session.get_inputs()[0].name, images[0]

    def arrays():
        predictions = classifier.predict_batch(images)
        return predictions.indices, predictions.probabilities

    ours = (lambda: classifier.predict(one)) if batch == 1 else arrays
    default = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def bare():
        return session.run(None, {name: images})

    found = in_turns(seconds, ours=ours, bare=bare)
    figures = {"ratio": round(found["ours"] / found["bare"], 4)}
    if batch > 1:
        pair = in_turns(seconds, records=lambda: list(classifier.predict_batch(images)), bare=bare)
        figures["records_ratio"] = round(pair["records"] / pair["bare"], 4)
        single = list(images)
        pair = in_turns(seconds / 2, single=lambda: classifier.predict_batch(single).indices, ours=ours)
        figures["list_to_ours"] = round(pair["single"] / pair["ours"], 4)
    found |= in_turns(seconds / 2, bare_default=lambda: default.run(None, {name: images}))
    figures |= {k: round(1e6 * v / batch, 2) for k, v in found.items()}
    figures["precision"] = classifier.card.precision
    for contender in contenders(model, classifier.card, images):
        pair = in_turns(seconds / 2, ours=ours, other=contender.call)
        figures[contender.name] = round(1e6 * pair["other"] / batch, 2)
        figures[f"{contender.name}_precision"] = contender.precision
        figures[f"{contender.name}_to_ours"] = round(pair["other"] / pair["ours"], 4)
    return figures


def large_batch(model: str, seconds: float) -> dict:
    """Images/s for 4,096 images: one thread, the same in batches of 256, our threads with their own images, and bare.

    The bare session splits each batch of 256 among its intra-op threads.
    """
    threads = usable_processors()
    images = some_images(Classifier.load(model, device="cpu").card, 4096)
    one, several = (Classifier.load(model, device="cpu", threads=n) for n in (1, threads))
    bare = bare_session(model, threads)
    name = bare.get_inputs()[0].name
    found = in_turns(
        seconds,
        one_thread=lambda: one.probabilities(images),
        one_thread_by_256=lambda: one.probabilities(images, block=256),
        our_threads=lambda: several.probabilities(images),
        bare_intra_op=lambda: [bare.run(None, {name: images[i : i + 256]}) for i in range(0, len(images), 256)],
    )
    return {"threads": threads, **{k: round(len(images) / v) for k, v in found.items()}}


def files(model: str, seconds: float, count: int = 2000) -> dict:
    """Microseconds per image for a folder of single `.npy` files, and for a stream of them."""
    classifier = Classifier.load(model, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        for i, image in enumerate(some_images(classifier.card, count)):
            np.save(Path(folder) / f"{i:05}.npy", image)
        records = b"".join(path.read_bytes() for path in sorted(Path(folder).iterdir()))

        def stream() -> list:
            return list(answer_stream(classifier, io.BufferedReader(io.BytesIO(records))))

        found = in_turns(seconds, folder=lambda: list(answer_files(classifier, folder)), stream=stream)
    return {name: round(1e6 * took / count, 1) for name, took in found.items()}


# A small process starts the others: on Linux a child's peak memory starts with its parent's.
LAUNCHER = """
import json, os, subprocess, sys, time
commands, runs = json.loads(sys.argv[1]), int(sys.argv[2])
for _ in range(runs):
    found = []
    for command in commands:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        found.append((time.perf_counter() - begun, usage.ru_maxrss, os.waitstatus_to_exitcode(status)))
    print(json.dumps(found))
"""


def cold(model: str, runs: int) -> dict:
    """A whole process that classifies one image: seconds and peak MiB of ours and of the bare script, and ratios."""
    card = Classifier.load(model, device="cpu").card
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.npy"
        np.save(image, some_images(card, 1)[0])
        commands = [
            [*our_command(), str(image), "--model", model],
            [sys.executable, "-c", BARE, model, str(image)],
        ]
        launch = [sys.executable, "-c", LAUNCHER, json.dumps(commands), str(runs + 1)]
        output = subprocess.run(launch, capture_output=True, text=True, check=True).stdout
    pairs = [json.loads(line) for line in output.splitlines()][1:]  # the first fills the page cache
    if any(code for pair in pairs for _, _, code in pair):
        sys.exit("a cold prediction failed")
    unit = 1024 if sys.platform != "darwin" else 1 << 20
    ours, bare = ([pair[side] for pair in pairs] for side in (0, 1))
    our_mib, bare_mib = (statistics.median(v[1] for v in side) / unit for side in (ours, bare))
    return {
        "our_seconds": round(statistics.median(v[0] for v in ours), 3),
        "bare_seconds": round(statistics.median(v[0] for v in bare), 3),
        "seconds_ratio": round(statistics.median(a[0] / b[0] for a, b in pairs), 3),
        "our_mib": round(our_mib, 1),
        "bare_mib": round(bare_mib, 1),
        "memory_ratio": round(our_mib / bare_mib, 3),
    }


def our_command() -> list[str]:
    """The installed command, or the module if only a checkout is on the path."""
    command = Path(sys.executable).with_name("clf-predict")
    return [str(command)] if command.is_file() else [sys.executable, "-m", "clf_runtime"]


def idle_rate(model: str, seconds: float, rate: int = 30) -> dict:
    """The fraction of one processor used at a given number of images/s: ours, and onnxruntime's defaults."""
    classifier = Classifier.load(model, device="cpu")
    image = some_images(classifier.card, 1)
    options = onnxruntime.SessionOptions()
    default = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    one = bare_session(model)
    name = default.get_inputs()[0].name
    found = {}
    for side, call in {
        "ours": lambda: classifier.predict(image[0]),
        "bare_one_thread": lambda: one.run(None, {name: image}),
        "bare_default": lambda: default.run(None, {name: image}),
    }.items():
        call()
        begun, processor = time.perf_counter(), time.process_time()
        for i in range(int(seconds * rate)):
            time.sleep(max(0.0, begun + i / rate - time.perf_counter()))
            call()
        found[side] = round((time.process_time() - processor) / (time.perf_counter() - begun), 4)
    return {"images_per_second": rate, **found}


def installed_bytes() -> int | None:
    """The size of the installed clf-edge; None if it is editable or not installed."""
    try:
        files = importlib.metadata.files("clf-edge") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    if any(file.name.endswith(".pth") for file in files):
        return None
    return sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    options = parser.parse_args()
    models = options.models or [ROOT / "artifacts" / f"{name}.onnx" for name in ("conv", "simple")]
    result: dict = {"onnxruntime": onnxruntime.__version__, "installed_bytes": installed_bytes()}
    for path in models:
        model = str(path)
        figures = {
            "microseconds": latency(model, options.seconds, 1),
            "microseconds_of_256": latency(model, options.seconds, 256),
            "images_per_second_of_4096": large_batch(model, options.seconds),
            "microseconds_of_files": files(model, options.seconds),
            "cold": cold(model, max(5, int(2 * options.seconds))),
            "processor_share": idle_rate(model, options.seconds),
        }
        print(path.name)
        for name, values in figures.items():
            print(f"  {name:28} " + "  ".join(f"{k} {v}" for k, v in values.items()))
        result[path.stem] = figures
    print(json.dumps(result))


if __name__ == "__main__":
    main()
