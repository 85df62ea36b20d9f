"""The command `clf-export`: parse, export, print."""

import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from clf_export.commands.adopt_options import (
    BackgroundOption,
    BgrOption,
    FitOption,
    LogitsOption,
    MeanOption,
    NamesOption,
    NhwcOption,
    OnnxOption,
    OutputOption,
    RangeOption,
    Said,
    SizeOption,
    StdOption,
)
from clf_export.commands.deliver import (
    ForOption,
    HubOption,
    OrtWebOption,
    PageOption,
    SingleOption,
    Wanted,
    print_delivered,
)
from clf_runtime.commands.progress import following
from clf_runtime.commands.shell import one_line, say
from clf_runtime.commands.typer_app import make_app, run_app, show_version
from clf_runtime.errors import UsageError

NAME = "clf-export"


def export(
    run_folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            help="A run folder of clf-train; one with several models gives a file for each. With --page, --for or "
            "--hub it may be a model file.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="The training images, if they have moved since: anything that clf-train --data takes. With --onnx "
            "labelled images in any layout of clf-eval, or a folder of pictures without labels.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="The file to write, if the name ends in .onnx, or a folder.  [default: beside the run folder, "
            "with its name; with --onnx NAME.adopted.onnx]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY[,...]",
            help="Your own model, as in training: its code is imported only if it is named here.",
        ),
    ] = None,
    int8: Annotated[
        Literal["off", "auto", "require"],
        typer.Option(
            help="Also make an int8 version and compare it with float32: auto writes it (NAME.int8.onnx) if it is "
            "recommended; require writes no file at all if it is not."
        ),
    ] = "off",
    input: Annotated[
        Literal["tensor", "photo"],
        typer.Option(
            help="tensor takes batches of images of the model's size. photo puts the geometry into the graph, which "
            "takes one photo uint8 [1, height, width, 3] of any size: for onnxruntime without Pillow.",
        ),
    ] = "tensor",
    familiarity: Annotated[
        Literal["auto", "off"],
        typer.Option(
            help="auto adds a second output by which a device can call an image unknown, if the training has 20 "
            "held-out images or more; off leaves it out, which is faster for one image of a small net."
        ),
    ] = "auto",
    outliers: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|FILE",
            help="Examples of what is no class, which sharpen the familiarity; a folder none beside those of the "
            "classes has them too.",
        ),
    ] = None,
    license: Annotated[
        str,
        typer.Option(metavar="TEXT", help="The model's licence, for its card: an SPDX identifier such as MIT."),
    ] = "",
    keep_rejected: Annotated[
        bool, typer.Option("--keep-rejected", help="Keep a file that fails verification, as NAME.rejected.onnx.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    page: PageOption = None,
    single: SingleOption = False,
    ort_web: OrtWebOption = None,
    tool: ForOption = None,
    hub: HubOption = None,
    onnx: OnnxOption = None,
    names: NamesOption = None,
    image_size: SizeOption = None,
    pixel_range: RangeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    bgr: BgrOption = False,
    nhwc: NhwcOption = False,
    logits: LogitsOption = False,
    output: OutputOption = None,
    fit: FitOption = None,
    background: BackgroundOption = None,
) -> None:
    """Write a trained model as one ONNX file, after verifying that its outputs match PyTorch's.

    PyTorch and onnxruntime both run all test images, and synthetic ones (black, white, one hot pixel, noise) in batches
    of several sizes. If a probability differs by more than 1e-4, or a prediction (except in near ties), no file is
    written, and a table shows the differences. Normalisation and softmax are inside the file; so are a model card, and
    golden cases for the self-test on a device (clf-predict --self-test).

    With --onnx the same is done of a classifier's .onnx file from another program: the original file, on pixels
    preprocessed as the options state, takes the place of PyTorch. What must be known and is not stated is asked for.

    --page, --for and --hub make of the file what a browser, another tool or the Hugging Face Hub takes, proven on the
    golden cases.

    Exit codes: 0 success; 2 any error.
    """
    wanted = Wanted(page, single, ort_web, tool, hub)
    said = Said(names, image_size, pixel_range, mean, std, bgr, nhwc, logits, output, fit, background)
    if onnx is not None:
        if run_folder is not None or model is not None:
            raise UsageError(f"{'RUN' if run_folder else '--model'} and --onnx exclude each other")
        from clf_export.commands.adopt import adopt

        if outliers is not None:
            raise UsageError("--outliers is for RUN: the familiarity of an adopted file has made outliers only")
        wanted.refuse_nonsense(1, exists=False, out=out is not None, data=data is not None)
        adopted = adopt(
            NAME,
            onnx,
            said.stated(),
            data,
            out,
            overwrite=overwrite,
            license=license,
            keep_rejected=keep_rejected,
            int8=int8,
            input=input,
            familiarity=familiarity,
            quiet=quiet,
            refuse=lambda file: wanted.refuse_taken([file], overwrite=overwrite),
        )
        print_delivered(adopted, wanted, None, None, overwrite=overwrite)
        return
    said.refuse_any()
    if run_folder is None:
        raise UsageError("Missing argument RUN, a run folder of clf-train; or pass --onnx FILE")
    if run_folder.suffix.lower() == ".onnx" and not run_folder.is_dir():
        if not run_folder.exists():
            raise UsageError(f"{run_folder}: no such file or folder")
        wanted.refuse_nonsense(1, exists=True, out=out is not None, data=data is not None)
        exporting = {
            "--model": model is not None,
            "--int8": int8 != "off",
            "--input": input != "tensor",
            "--familiarity": familiarity != "auto",
            "--outliers": outliers is not None,
            "--license": bool(license),
            "--keep-rejected": keep_rejected,
        }
        for option, given in exporting.items():
            if given:
                raise UsageError(f"{option} is for the export of a run, and RUN is a model file already")
        print_delivered(run_folder, wanted, out, data, overwrite=overwrite)
        return
    if outliers is not None and familiarity == "off":
        raise UsageError("--outliers sharpens the familiarity, and --familiarity off leaves it out")
    from clf_export.commands.export_text import export_lines
    from clf_export.errors import ParityError
    from clf_export.export import export_run
    from clf_export.inputs import find_test_images, read_runs
    from clf_export.outputs import int8_beside, named_together, output_files
    from clf_train.models.registry import is_own
    from clf_train.runs.output_place import refuse_among_images
    from clf_train.runs.run import find_runs

    # Whatever can be refused is refused before the first export begins.
    folders = find_runs(run_folder if _has_own_name(run_folder) else run_folder.resolve())
    wanted.refuse_nonsense(len(folders), exists=False, out=out is not None, data=data is not None)
    if out is None:
        wanted.refuse_exported(folders, overwrite=overwrite)
    files = output_files(folders, out, overwrite=overwrite, with_int8=int8 != "off")
    wanted.refuse_taken(files, overwrite=overwrite)
    own = None if model is None else tuple(name.strip() for name in model.split(","))
    runs = read_runs(folders, own)
    for file, run in zip(files, runs, strict=True):
        refuse_among_images(file, data or run.data.source)
    dataset, found, made = None, None, []
    with named_together() as waiting:
        for folder, file, run in zip(folders, files, runs, strict=True):
            needed = (run.data.source, run.data.fingerprint, run.names)
            if dataset is None or needed != found:  # the runs of one training share them
                with following(NAME, quiet) as watch:
                    dataset, other = find_test_images(run, data, watch)
                found = needed
                if other and not quiet:
                    say(NAME, other)
            if not quiet:
                say(NAME, f"exporting {folder}, verifying on {len(dataset.test):,} {'test ' * dataset.has_test}images")
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
                        familiarity=familiarity,
                        outliers=outliers,
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
    for export, file, run in zip(made, files, runs, strict=True):
        for line in export_lines(export):
            print(one_line(line))
        small = int8_beside(file)
        if int8 == "off" and not quiet and small.exists():
            say(NAME, f"{small}: is from an earlier export and was not updated; --int8 auto replaces or removes it")
        print_delivered(file, wanted, None, data or run.data.source, overwrite=overwrite)


def _has_own_name(folder: Path) -> bool:
    """Whether a run folder's path ends in its own name, after which its file is called."""
    return folder.name not in ("", "..") and not folder.is_symlink()


app = make_app(export)


def main() -> NoReturn:
    """Run `clf-export`."""
    run_app(app, NAME, "all")
