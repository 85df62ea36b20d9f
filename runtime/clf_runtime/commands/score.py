"""The command `clf-score`: parse, score, say what was done."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from clf_runtime.commands.options import HUB_TOO
from clf_runtime.commands.progress import following
from clf_runtime.commands.shell import say
from clf_runtime.commands.typer_app import AssumeOption, DeviceOption, make_app, run_app, show_version
from clf_runtime.errors import UsageError

if TYPE_CHECKING:
    from clf_runtime.scoring.score import Progress

NAME = "clf-score"


def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, with all folders in it; a list (.txt: a path per line; .csv or .tsv: a column of paths); "
            "or one .parquet, .npz, .npy, .tar or .zip file. Each may be a URI such as s3://bucket/photos.",
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="The folder of results, new or begun by the same command.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help=f"The .onnx file to run{HUB_TOO}.  [default: the bundled CIFAR-10 model]",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            metavar="local|ray",
            help="local: processes on this machine. ray: actors of Ray Data, on the cluster of RAY_ADDRESS, the one "
            "that runs here, or one that is started.",
        ),
    ] = "local",
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Processes or actors; 0: one per processor that may be used.")
    ] = 0,
    form: Annotated[
        Literal["parquet", "jsonl"],
        typer.Option("--format", metavar="parquet|jsonl", help="The format of the results: parquet, or JSON lines."),
    ] = "parquet",
    partition: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=1_000_000, help="Files per partition at most, fewer above 256 MiB: what is redone."
        ),
    ] = 1000,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="List the K most likely classes.")] = 1,
    reject_below: Annotated[
        float,
        typer.Option(metavar="P", show_default=False, help="Call an image unknown if its probability is below P."),
    ] = 0.0,
    reject: Annotated[
        Literal["auto"] | None,
        typer.Option(
            metavar="auto",
            help="auto: call an image unknown if it is less familiar than all but 5 % of those that the model knows.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    assume: AssumeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> int:
    """Classify a large source of images into a folder of results: one row per image, the record of clf-predict --json.

    The source is divided into partitions, each a file of results that appears whole. Stopped or killed at any time, the
    same command does what is missing: no image is lost, and none is there twice. A picture that cannot be read is a row
    with its error. The SHA-256 of the model is in every row; another model, other options or a changed source are
    refused in the same folder.

    Exit codes: 0 every image has its row, perhaps with an error; 2 any other error; 130 or 143 stopped by SIGINT or
    SIGTERM.
    """
    if not 0 <= reject_below <= 1:
        raise UsageError(f"--reject-below takes a probability in 0..1, not {reject_below}")
    from clf_runtime.model.assumptions import parse_assumptions
    from clf_runtime.scoring.score import score as run

    said = None if assume is None else parse_assumptions(assume)
    start = time.monotonic()
    with following(NAME, quiet) as watch, _stopping():
        result = run(
            source,
            out,
            model,
            engine=engine,
            workers=workers,
            form=form,
            files_per_partition=partition,
            top=top,
            reject_below=reject_below,
            reject=reject,
            device=device,
            assume=said,
            note=lambda text: None if quiet else say(NAME, text),
            watch=lambda progress: watch(_line(progress, time.monotonic() - start)),
        )
    seconds = time.monotonic() - start
    if as_json:
        print(json.dumps({"out": out, **asdict(result), "wall_seconds": round(seconds, 3)}))
    else:
        print(f"{out}: {_line(result, seconds)}")
    return 0


def _line(progress: "Progress", seconds: float) -> str:
    """How far it is, in words."""
    rate = f", {progress.images / seconds:,.0f} a second" if progress.images and seconds > 0 else ""
    errors = f", {progress.errors:,} of them with an error" if progress.errors else ""
    return f"{progress.done:,} of {progress.partitions:,} partitions; now {progress.images:,} images{errors}{rate}"


@contextmanager
def _stopping() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with the exit code 143."""

    def stop(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        say(NAME, "terminated")
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


app = make_app(score)


def main() -> NoReturn:
    """Run `clf-score`."""
    run_app(app, NAME, "cpu,parquet")
