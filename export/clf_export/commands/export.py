"""The command `clf-export`: parse, export, print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from clf_runtime.commands.progress import following
from clf_runtime.commands.shell import one_line, say
from clf_runtime.commands.typer_app import make_app, run_app, show_version

if TYPE_CHECKING:
    from clf_export.export import Export
    from clf_export.outputs import ModelFile

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
            metavar="FILE|DIR",
            help="A name that ends in .onnx, or a folder to put the file into.  [default: named like the run folder, "
            "and beside it]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY[,...]",
            help="Your own model, as it was trained: its code is imported only if it is named here.",
        ),
    ] = None,
    int8: Annotated[
        Literal["off", "auto", "require"],
        typer.Option(
            help="Make an int8 version too, and a verdict on it: auto writes its file (NAME.int8.onnx) if it is "
            "recommended; require writes nothing if it is not."
        ),
    ] = "off",
    input: Annotated[
        Literal["tensor", "photo"],
        typer.Option(
            help="What the graph takes: tensor, batches of images of the model's size; photo, one photo of any size, "
            "uint8 [1, height, width, 3] RGB, which it scales itself, so that no Pillow is needed."
        ),
    ] = "tensor",
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
    from clf_export.export import export_run
    from clf_export.inputs import find_test_images, read_runs
    from clf_export.outputs import int8_beside, named_together, output_files
    from clf_export.proof.proof import table
    from clf_train.models.registry import is_own
    from clf_train.runs.output_place import refuse_among_images
    from clf_train.runs.run import find_runs

    # What can be refused at once is not refused after minutes, and not after the first of several files either.
    folders = find_runs(run_folder.resolve())
    files = output_files(folders, out, overwrite=overwrite, with_int8=int8 != "off")
    own = None if model is None else tuple(name.strip() for name in model.split(","))
    runs = read_runs(folders, own)
    for file, run in zip(files, runs, strict=True):
        refuse_among_images(file, data or run.data.source)
    dataset, found, made = None, None, []
    with named_together() as waiting:
        for folder, file, run in zip(folders, files, runs, strict=True):
            wanted = (run.data.source, run.data.fingerprint, run.names)
            if dataset is None or wanted != found:  # the runs of one training have the same
                dataset, other = find_test_images(run, data)
                found = wanted
                if other and not quiet:
                    say(NAME, other)
            if not quiet:
                say(NAME, f"exporting {folder}, to be proven on {len(dataset.test):,} test images")
            try:
                with following(NAME, quiet) as watch:
                    export = export_run(
                        folder,
                        dataset,
                        file,
                        overwrite=overwrite,
                        own=run.model if is_own(run.model) else None,
                        license=license,
                        keep_rejected=keep_rejected,
                        int8=int8,
                        input=input,
                        watch=watch,
                        files=waiting,
                    )
            except ParityError as error:
                for line in error.table:
                    print(one_line(line), file=sys.stderr)
                raise
            if export.hint is not None and not quiet:
                say(NAME, f"{run.model}: {export.hint}")
            made.append(export)
    for export, file in zip(made, files, strict=True):
        written = export.model
        print(one_line(f"{written.path}: {written.size:,} bytes, {written.card.model}, proven against PyTorch"))
        lines = (f"the net that was trained         {export.as_trained}", *table(export.proof, written.card.names))
        lines += tuple(export.photos.lines()) if export.photos is not None else ()
        for line in (*lines, *_golden_lines(written), *_int8_lines(export)):
            print(f"  {one_line(line)}")
        small = int8_beside(file)
        if int8 == "off" and not quiet and small.exists():
            say(NAME, f"{small}: is of another export, and stays; --int8 auto makes it anew, or takes it away")


def _golden_lines(file: "ModelFile") -> list[str]:
    golden = file.card.golden
    lines = [f"sha256                           {file.sha256}"]
    if golden is None:
        return ["golden cases                     none: the images are too large, or all answers near ties", *lines]
    noticed = file.damages - len(file.unnoticed)
    text = f"{len(golden.probabilities)}; the self-test passes, and notices {noticed} of {file.damages} damaged weights"
    return [f"golden cases                     {text}", *(f"  not noticed: {what}" for what in file.unnoticed), *lines]


def _int8_lines(made: "Export") -> list[str]:
    """The verdict on int8, and the file if there is one."""
    if made.int8_problem is not None:
        return [f"int8                             {made.int8_problem}"]
    if made.quantised is None:
        return []
    verdict, names = made.quantised.verdict, made.model.card.names
    found = verdict.judgement
    accuracies = f"{_share(found.int8_accuracy)}, float32 {_share(found.float_accuracy)}"
    lines = [
        f"int8, the best of {len(made.quantised.tried):<3}            {verdict.setting}",
        f"accuracy on held-out images      {accuracies} (of {found.images:,} training images)",
        f"worst class                      {names[found.worst_class]}: {-found.worst_drop:+.1f} points",
        f"size                             {verdict.size:,} bytes, float32 {verdict.float_size:,} (without cards)",
        f"speed, 1 image and 256           {verdict.batch_1_ratio:.2f} and {verdict.batch_256_ratio:.2f} of float32's",
        f"difference between processors    {verdict.processor_difference:.1e}, probability",
        f"verdict                          {verdict.reason()}",
    ]
    if made.int8 is not None:
        parity = made.int8.card.parity
        assert parity is not None
        lines.append(f"int8 file                        {made.int8.path}: {made.int8.size:,} bytes")
        right = f"{_share(parity.onnx_accuracy)}, float32 {_share(parity.torch_accuracy)}"
        lines += [f"accuracy on the test images      {right}", *_golden_lines(made.int8)]
    return lines


def _share(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"


app = make_app(export)


def main() -> NoReturn:
    """Run `clf-export`."""
    run_app(app, NAME, "all")
