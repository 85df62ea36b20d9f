"""The command `clf-export`: parse, export, print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from clf_runtime.commands.progress import following
from clf_runtime.commands.shell import one_line, say
from clf_runtime.commands.typer_app import make_app, run_app, show_version
from clf_runtime.evaluation.interval import stated

if TYPE_CHECKING:
    from clf_export.export import Export
    from clf_export.outputs import ModelFile
    from clf_runtime.model.familiarity import Familiarity

NAME = "clf-export"


def export(
    run_folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder of clf-train; one with several models gives a file for each."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="The training images, if they have moved since: anything that clf-train --data takes.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="The file to write, if the name ends in .onnx, or a folder.  [default: beside the run folder, "
            "with its name]",
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
) -> None:
    """Write a trained model as one ONNX file, after verifying that its outputs match PyTorch's.

    PyTorch and onnxruntime both run all test images, and synthetic ones (black, white, one hot pixel, noise) in batches
    of several sizes. If a probability differs by more than 1e-4, or a prediction (except in near ties), no file is
    written, and a table shows the differences. Normalisation and softmax are inside the file; so are a model card, and
    golden cases for the self-test on a device (clf-predict --self-test).

    Exit codes: 0 success; 2 any error.
    """
    from clf_export.errors import ParityError
    from clf_export.export import export_run
    from clf_export.inputs import find_test_images, read_runs
    from clf_export.outputs import int8_beside, named_together, output_files
    from clf_train.models.registry import is_own
    from clf_train.runs.output_place import refuse_among_images
    from clf_train.runs.run import find_runs

    # Whatever can be refused is refused before the first export begins.
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
            if dataset is None or wanted != found:  # the runs of one training share them
                with following(NAME, quiet) as watch:
                    dataset, other = find_test_images(run, data, watch)
                found = wanted
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
        print(one_line(f"{written.path}: {written.size:,} bytes, {written.card.model}, verified against PyTorch"))
        lines = (f"net as trained                   {export.as_trained}", *_proof_lines(export))
        if export.photos is not None:
            lines = (*lines, *export.photos.lines())
        if export.pictures:
            by_pillow = " once Pillow resizes it" * (export.photos is not None)
            same = f"{export.pictures:,} decoded as on a device, every pixel as in training{by_pillow}"
            lines = (*lines, f"pictures                         {same}")
        if export.familiarity_problem is not None:
            lines = (*lines, f"unknown by familiarity           never: {export.familiarity_problem}")
        for line in (*lines, *_golden_lines(written), *_int8_lines(export)):
            print(f"  {one_line(line)}")
        small = int8_beside(file)
        if int8 == "off" and not quiet and small.exists():
            say(NAME, f"{small}: is from an earlier export and was not updated; --int8 auto replaces or removes it")


def _proof_lines(made: "Export") -> list[str]:
    from clf_export.proof.proof import table

    card = made.model.card
    lines = table(made.proof, card.names, trained_on=card.parity_is_of_training)
    if card.fold_accuracy is not None:
        said = f"{stated(card.fold_accuracy, card.fold_images)}, by nets that had not seen them"
        lines.append(f"{f'accuracy in {card.fold_count} folds':<33}{said}")
    return lines


def _golden_lines(file: "ModelFile") -> list[str]:
    golden = file.card.golden
    lines = [f"sha256                           {file.sha256}"]
    if golden is None:
        return ["golden cases                     none: images too large, or all predictions near ties", *lines]
    picture = " and a picture" * (file.card.golden_picture is not None)
    detected = f"{file.damages - len(file.unnoticed)} of {file.damages}"
    return [
        f"golden cases                     {len(golden.probabilities)}{picture}, self-test passed",
        *_familiarity_lines(file.card.familiarity),
        f"damage detection                 checksum: any flipped bit; golden cases alone: {detected} in weights",
        *lines,
    ]


def _familiarity_lines(familiarity: "Familiarity | None") -> list[str]:
    """How many outliers are noticed, on average and of the kind of which the fewest are."""
    if familiarity is None:
        return []
    shares = dict(zip(familiarity.noticed, familiarity.kinds, strict=True))
    mean, least = sum(familiarity.noticed) / len(familiarity.noticed), min(shares)
    return [
        f"unknown by familiarity           {100 * mean:.0f} % of made outliers, fewest of '{shares[least]}': "
        f"{100 * least:.0f} %"
    ]


def _int8_lines(made: "Export") -> list[str]:
    """The verdict on int8, and the file if there is one."""
    if made.int8_problem is not None:
        return [f"int8                             {made.int8_problem}"]
    if made.quantised is None:
        return []
    verdict, names = made.quantised.verdict, made.model.card.names
    found, images = verdict.judgement, "held-out" if verdict.unseen else "training"
    lines = [
        f"int8, best of {len(made.quantised.tried):<3}                {verdict.setting}",
        f"{f'accuracy on {images} images':<33}{_both(found.int8_accuracy, found.float_accuracy, found.images)}",
        f"largest drop of a class          {names[found.worst_class]}: {-found.worst_drop:+.1f} points",
        f"size                             {verdict.size:,} bytes, float32 {verdict.float_size:,} (without cards)",
        f"speed, batch 1 and 256           {verdict.batch_1_ratio:.2f} and {verdict.batch_256_ratio:.2f} x float32",
        f"max. difference from reference   {verdict.processor_difference:.1e}, probability",
        f"verdict                          {verdict.reason()}",
    ]
    if made.int8 is not None:
        parity = made.int8.card.parity
        assert parity is not None
        lines.append(f"int8 file                        {made.int8.path}: {made.int8.size:,} bytes")
        accuracies = _both(parity.onnx_accuracy, parity.torch_accuracy, parity.images)
        if not made.int8.card.parity_is_of_training:
            lines.append(f"accuracy on test images          {accuracies}")
        lines += _golden_lines(made.int8)
    return lines


def _both(int8: float, float32: float, images: int) -> str:
    return f"{stated(int8, images)}, float32 {stated(float32, images)}"


app = make_app(export)


def main() -> NoReturn:
    """Run `clf-export`."""
    run_app(app, NAME, "all")
