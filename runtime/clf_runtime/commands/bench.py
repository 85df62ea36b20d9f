"""The command `clf-bench`: parse, measure, print."""

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from clf_runtime.commands.options import HUB_TOO
from clf_runtime.commands.shell import noting, one_line, say
from clf_runtime.commands.typer_app import (
    AssumeOption,
    DeviceOption,
    LogOption,
    ThreadsOption,
    make_app,
    run_app,
    show_version,
)
from clf_runtime.errors import UsageError

if TYPE_CHECKING:
    from clf_runtime.diagnostics.bench import Bench

NAME = "clf-bench"
_MOST_SECONDS = 3600.0


def bench(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"The .onnx file to measure{HUB_TOO}.")],
    seconds: Annotated[
        float, typer.Option(metavar="S", help="How long to measure, without the cold starts; 0.1 to 3600.")
    ] = 3.0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    assume: AssumeOption = None,
    ort_log: LogOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON object only.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> int:
    """Measure an ONNX model here: cold start, load, first run, latency, images/s, processor time, memory.

    Prints a table, and one line of JSON at the end. Cold starts are of fresh processes, with the files in the page
    cache.

    Exit codes: 0 success; 2 any error.
    """
    if not (math.isfinite(seconds) and 0.1 <= seconds <= _MOST_SECONDS):
        raise UsageError(f"--seconds must be 0.1 to {_MOST_SECONDS:g}, not {seconds:g}")
    from clf_runtime.diagnostics.bench import bench as measure
    from clf_runtime.model.assumptions import parse_assumptions
    from clf_runtime.model.file import find_model

    file = find_model(model, noting(NAME, quiet))

    def begin() -> None:
        if not quiet:
            say(NAME, f"measuring {file.name} for about {seconds:g} s, plus a few cold starts")

    said = None if assume is None else parse_assumptions(assume)
    result = measure(file, device=device, threads=threads, log=ort_log, assume=said, seconds=seconds, begin=begin)
    if not as_json:
        print("\n".join(table(result)))
    print(json.dumps(asdict(result), allow_nan=False))
    return 0


def table(result: "Bench") -> list[str]:
    """The results as lines of text."""
    cold, after = result.cold_start, _mib(result.peak_memory_bytes).strip()
    lines = [
        f"{'model':12} {result.model}, {result.model_bytes:,} bytes, sha256 {result.model_sha256[:16]}...",
        f"{'runs on':12} {result.provider}, {_threads(result.threads)}; onnxruntime "
        f"{result.onnxruntime}, numpy {result.numpy}, Python {result.python}",
        f"{'machine':12} {result.platform}, {result.processors} processors",
        "",
        f"{'cold start':12} {_ms(cold.seconds)}   median of {cold.repeats} fresh processes",
        f"{'  imports':12} {_ms(cold.import_seconds)}   numpy, onnxruntime, clf_runtime",
        f"{'  load':12} {_ms(cold.load_seconds)}",
        f"{'  first run':12} {_ms(cold.first_run_seconds)}",
        f"{'peak memory':12} {_mib(cold.peak_memory_bytes)}   after one image; {after} at the end",
        "",
        f"{'one image':12} {'p50':>9} {'p95':>9} {'p99':>9} {'processor':>10}",
    ]
    for name, latency in (("predict", result.predict), ("bare session", result.session)):
        times = " ".join(f"{1e6 * t:6.0f} us" for t in (latency.p50, latency.p95, latency.p99))
        lines.append(f"{name:12} {times} {1e6 * latency.processor_seconds:7.0f} us   ({latency.runs:,} runs)")
    lines += ["", f"{'batch':12} {'images/s':>9}"]
    for row in result.throughput:
        rate = row.reason if row.images_per_second is None else f"{row.images_per_second:9,.0f}"
        lines.append(f"{row.batch:<12} {rate}")
    return [one_line(line) for line in lines]


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads per batch"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:9.1f} ms"


def _mib(size: int | None) -> str:
    return "  unknown" if size is None else f"{size / (1 << 20):9.1f} MiB"


app = make_app(bench)


def main() -> NoReturn:
    """Run `clf-bench`."""
    run_app(app, NAME, "cpu")
