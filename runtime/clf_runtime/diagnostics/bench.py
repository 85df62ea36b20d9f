"""A model's latency, throughput, cold start and memory on this machine, measured on synthetic images.

Times are wall-clock seconds unless a name says processor; memory is in bytes.
"""

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from clf_runtime.classifier import Classifier
from clf_runtime.diagnostics.subprocesses import run_python, signal_name
from clf_runtime.diagnostics.workload import made_images
from clf_runtime.engine.engine import open_engine
from clf_runtime.engine.ort_library import onnxruntime_version
from clf_runtime.engine.threads import usable_processors
from clf_runtime.errors import DeviceError, brief
from clf_runtime.model.assumptions import Assumptions
from clf_runtime.model.file import read_model
from clf_runtime.model.interface import in_colour
from clf_runtime.model.records import ITEM_BYTES
from clf_runtime.system import peak_memory

BATCHES = (1, 8, 32, 256)
COLD_STARTS = 5
MOST_SAMPLES = 1_000_000
_MAX_BATCH_BYTES = 256 << 20
_CHILD_SECONDS = 300.0
_WARM_UP = 5
_CHILD = """
import json, sys, time
start = time.perf_counter()
from clf_runtime.classifier import Classifier
from clf_runtime.engine.ort_library import import_onnxruntime
from clf_runtime.engine.threads import usable_processors
import_onnxruntime()
imported = time.perf_counter()
assume = json.loads(sys.argv[3])
if assume is not None:
    from clf_runtime.model.assumptions import Assumptions
    assume = Assumptions(**{k: tuple(v) if isinstance(v, list) else v for k, v in assume.items()})
classifier = Classifier.load(sys.argv[1], device=sys.argv[2], assume=assume)
loaded = time.perf_counter()
from clf_runtime.diagnostics.workload import made_images
from clf_runtime.system import peak_memory
image = made_images(classifier.card, 1)[0]
made = time.perf_counter()
classifier.predict(image)
ended = time.perf_counter()
print(json.dumps([imported - start, loaded - imported, ended - made, peak_memory()]))
"""


@dataclass(frozen=True)
class ColdStart:
    """Medians over fresh processes: total, including Python's start; imports, load, first run; peak memory."""

    repeats: int
    seconds: float
    import_seconds: float
    load_seconds: float
    first_run_seconds: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Latency:
    """One image at a time, over `runs` runs: percentiles of seconds, and processor seconds per image, all threads."""

    runs: int
    p50: float
    p95: float
    p99: float
    processor_seconds: float


@dataclass(frozen=True)
class Throughput:
    """Images/s at one batch size, over `runs` runs; None if it was skipped, and `reason` says why."""

    batch: int
    runs: int
    images_per_second: float | None
    reason: str = ""


@dataclass(frozen=True)
class Bench:
    """The measurements of a model, with the versions and the machine.

    `predict` is Classifier.predict, `session` the bare engine on the same image.
    """

    model: str
    model_sha256: str
    model_bytes: int
    provider: str
    threads: int
    cold_start: ColdStart
    predict: Latency
    session: Latency
    throughput: tuple[Throughput, ...]
    peak_memory_bytes: int | None
    python: str
    numpy: str
    onnxruntime: str
    platform: str
    processors: int


def bench(
    file: Path,
    *,
    device: str = "auto",
    threads: int = 1,
    log: str | None = None,
    assume: Assumptions | None = None,
    seconds: float = 3.0,
    begin: Callable[[], object] = lambda: None,
) -> Bench:
    """Measure a model file for about `seconds`, without the cold starts; a single run may take longer.

    `device`, `threads`, `log` and `assume` are those of `Classifier.load`; batches are split among the threads, a
    single image uses one. `begin` is called when the model is loaded and measuring begins.
    Raises as `Classifier.load` does, and DeviceError if a fresh process fails.
    """
    # First, since its error messages are the best.
    classifier = Classifier.load(file, device=device, threads=threads, log=log, assume=assume)
    single = made_images(classifier.card, 1)
    classifier.predict(single[0])
    begin()
    cold = cold_starts(file, device, assume)
    model = read_model(file)
    engine = open_engine(model, str(file), device=device, log=log)
    bare_input = in_colour(single) if classifier.card.input == "photo" else single
    predict, bare = latencies(lambda: classifier.predict(single[0]), lambda: engine.run(bare_input), seconds / 2)
    share = seconds / 2 / len(BATCHES)
    return Bench(
        model=str(file),
        model_sha256=classifier.sha256,
        model_bytes=len(model),
        provider=classifier.provider,
        threads=classifier.threads,
        cold_start=cold,
        predict=predict,
        session=bare,
        throughput=tuple(throughput(classifier, batch, predict.p50, share) for batch in BATCHES),
        peak_memory_bytes=peak_memory(),
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=onnxruntime_version(),
        platform=platform.platform(),
        processors=usable_processors(),
    )


def cold_starts(file: Path, device: str, assume: Assumptions | None = None) -> ColdStart:
    """Import, load and predict once in fresh processes, after one that brings the files into the page cache."""
    rows = []
    # Without class names, which take no time and may exceed the length of an argument.
    said = json.dumps(None if assume is None else asdict(replace(assume, names=())))
    for _ in range(1 + COLD_STARTS):
        start = time.perf_counter()
        ended = run_python(["-c", _CHILD, str(file), device, said], _CHILD_SECONDS)
        took = time.perf_counter() - start
        if ended.code != 0:
            why = "timed out" if ended.code is None else ended.err.strip().rpartition("\n")[2]
            killed = f"killed by {signal_name(ended.code)}" if ended.code and ended.code < 0 else ""
            raise DeviceError(f"{file}: a fresh process failed: {killed or brief(Exception(why))}")
        rows.append((took, *json.loads(ended.out.splitlines()[-1])))
    totals, imports, loads, firsts, peaks = zip(*rows[1:], strict=True)
    return ColdStart(
        repeats=COLD_STARTS,
        seconds=float(np.median(totals)),
        import_seconds=float(np.median(imports)),
        load_seconds=float(np.median(loads)),
        first_run_seconds=float(np.median(firsts)),
        peak_memory_bytes=None if None in peaks else int(np.median(peaks)),
    )


def latencies(first: Callable[[], object], second: Callable[[], object], seconds: float) -> tuple[Latency, Latency]:
    """Time two calls alternately, so that other load affects both, for `seconds` in total and at least once."""
    calls = (first, second)
    for call in calls * _WARM_UP:
        call()
    walls: tuple[list[float], list[float]] = ([], [])
    processor = [0.0, 0.0]
    deadline = time.perf_counter() + seconds
    turn = 20  # calls in a row: processor time may have a coarse clock, which is read once per turn
    while not walls[1] or (time.perf_counter() < deadline and len(walls[1]) < MOST_SAMPLES):
        for i, call in enumerate(calls):
            before = time.process_time()
            for _ in range(turn):
                start = time.perf_counter()
                call()
                walls[i].append(time.perf_counter() - start)
                if walls[i][-1] > seconds / 2:
                    break
            processor[i] += time.process_time() - before
    a, b = (_latency(wall, spent) for wall, spent in zip(walls, processor, strict=True))
    return a, b


def _latency(wall: list[float], processor: float) -> Latency:
    p50, p95, p99 = np.percentile(wall, [50, 95, 99]).tolist()
    return Latency(len(wall), p50, p95, p99, processor / len(wall))


def throughput(classifier: Classifier, batch: int, seconds_per_image: float, seconds: float) -> Throughput:
    """Run batches for `seconds`; skipped if one batch would take too much memory, or ten times as long."""
    card = classifier.card
    if math.prod(card.image_shape) * ITEM_BYTES[card.dtype] * batch > _MAX_BATCH_BYTES:
        return Throughput(batch, 0, None, f"a batch takes more than {_MAX_BATCH_BYTES >> 20} MiB")
    if batch > 1 and batch * seconds_per_image > 10 * seconds:
        return Throughput(batch, 0, None, "a batch takes too long for --seconds")
    images = made_images(card, batch)
    classifier.probabilities(images)
    runs, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < seconds or not runs:
        classifier.probabilities(images)
        runs += 1
    return Throughput(batch, runs, runs * batch / took)
