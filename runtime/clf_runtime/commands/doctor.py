"""The command `clf-doctor`: run the checks, print."""

import json
from dataclasses import asdict
from typing import Annotated, NoReturn

import typer

from clf_runtime.commands.options import HUB_TOO
from clf_runtime.commands.shell import EXIT_FAILED, one_line
from clf_runtime.commands.typer_app import make_app, run_app, show_version

NAME = "clf-doctor"


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help=f"An .onnx file{HUB_TOO}.  [default: the bundled CIFAR-10 model]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> int:
    """Diagnose this device: Python, numpy, onnxruntime, its execution providers, and a model.

    One line per check: ok, warning or problem, and what to do. Whatever may crash runs in a separate process.

    Exit codes: 0 no problems (there may be warnings); 1 problems were found; 2 clf-doctor itself failed.
    """
    from clf_runtime.diagnostics.doctor import examine

    checks = []
    for check in examine(model):
        checks.append(check)
        if not as_json:
            advice = f"; {check.advice}" * bool(check.advice)
            print(one_line(f"{check.status:8} {check.name}: {check.text}{advice}"), flush=True)
    problems, warnings = (sum(check.status == status for check in checks) for status in ("problem", "warning"))
    if as_json:
        record = {"problems": problems, "warnings": warnings, "checks": [asdict(check) for check in checks]}
        print(json.dumps(record, allow_nan=False))
    return EXIT_FAILED if problems else 0


app = make_app(doctor)


def main() -> NoReturn:
    """Run `clf-doctor`."""
    run_app(app, NAME, "cpu")
