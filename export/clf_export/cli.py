"""The command `clf-export`: parse, export, print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from clf_runtime.command import make_app, one_line, run, say, show_version

if TYPE_CHECKING:
    from clf_export.exporting import Export

NAME = "clf-export"


def export(
    run_folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder of clf-train; one that holds both models gives two files."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="The images of the training, if they are no longer where the run says: anything that clf-train --data "
            "takes.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The .onnx file, or a folder for several.  [default: named like the run folder, and beside it]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY[,...]",
            help="Your own model, as it was trained: its code is imported only if it is named here.",
        ),
    ] = None,
    license: Annotated[
        str, typer.Option(metavar="TEXT", help="The licence of the model, for its card: an SPDX name such as MIT.")
    ] = "",
    keep_rejected: Annotated[
        bool, typer.Option("--keep-rejected", help="Keep a file that fails the proof, as NAME.rejected.onnx.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Write a trained model as one ONNX file, after proving that it answers as PyTorch does.

    All test images, and made-up ones (black, white, one hot pixel, noise) in batches of several sizes, go through
    PyTorch and onnxruntime. If a probability differs by more than 1e-4, or a prediction differs that is no tie, there
    is no file, and a table says what differed. Normalisation and softmax are inside the file; so are a card that says
    what it is, and golden cases by which a device can prove its answers (clf-predict --self-test).

    Exit codes: 0 all well; 2 any error.
    """
    from clf_export.errors import ParityError
    from clf_export.exporting import export_run, find_test_images, output_files
    from clf_export.proof import table
    from clf_train.run import find_runs, read_run

    folders = find_runs(run_folder.resolve())
    files = output_files(folders, out, overwrite=overwrite)
    dataset = None
    for folder, file in zip(folders, files, strict=True):
        if not quiet:
            say(NAME, f"exporting {folder}")
        if dataset is None:
            dataset, other = find_test_images(read_run(folder), data)
            if other and not quiet:
                say(NAME, other)
        own = _named(read_run(folder).model, model)
        try:
            made = export_run(
                folder, dataset, file, overwrite=overwrite, own=own, license=license, keep_rejected=keep_rejected
            )
        except ParityError as error:
            for line in error.table:
                print(one_line(line), file=sys.stderr)
            raise
        print(one_line(f"{made.file}: {made.size:,} bytes, {made.card.model}, proven against PyTorch"))
        for line in (*table(made.proof, made.card.names), *_golden_lines(made)):
            print(f"  {one_line(line)}")
        print(f"  sha256                           {made.sha256}")


def _golden_lines(made: "Export") -> list[str]:
    golden = made.card.golden
    if golden is None:
        return ["golden cases                     none: the images are too large"]
    noticed = made.damages - len(made.unnoticed)
    text = f"{len(golden.probabilities)}; the self-test passes, and notices {noticed} of {made.damages} damaged weights"
    return [f"golden cases                     {text}", *(f"  not noticed: {what}" for what in made.unnoticed)]


def _named(model: str, named: str | None) -> str | None:
    """What load_net may import for a run of `model`, where `named` are the user's own models, with commas between."""
    if named is None or ":" not in model:
        return None
    return model if model in named.split(",") else named


app = make_app(export)


def main() -> NoReturn:
    """Run `clf-export`."""
    run(app, NAME, "all")
