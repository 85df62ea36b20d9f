"""What `clf-predict` takes, for typer: each option, and its help."""

from pathlib import Path
from typing import Annotated

import typer

from clf_runtime.commands.classify import classify
from clf_runtime.commands.typer_app import AssumeOption, DeviceOption, LogOption, ThreadsOption, make_app, show_version


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE...",
            help=".npy or .npz files of one image or a batch, PNG or JPEG pictures, folders of them, patterns such as "
            "'shots/*.png', or - for standard input.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", readable=False, help="The .onnx file to run.  [default: the CIFAR-10 model that ships]"
        ),
    ] = None,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="Show the K likeliest classes.")] = 1,
    reject_below: Annotated[
        float,
        typer.Option(metavar="P", help="Call an image unknown if its probability is below P.", show_default=False),
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each image.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a header, then one line for each image.")] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="On CUDA, let factors be rounded to 10 bits: faster, less exact.")
    ] = False,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="Refuse a model file that has not this SHA-256.")
    ] = None,
    assume: AssumeOption = None,
    card: Annotated[bool, typer.Option("--card", help="Print what the model file says of itself, and exit.")] = False,
    test: Annotated[
        bool,
        typer.Option("--self-test", help="Answer the model's golden cases, compare, and exit: 0 if all agree, else 1."),
    ] = False,
    ort_log: LogOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> int:
    """Classify images with an ONNX model: class, name and probability of each.

    Arrays are [channels, height, width] or [height, width, channels], or a batch of either, in the dtype and range that
    the model was trained on; uint8 images and floats in 0..1 stand for each other. An .npz holds them in an array
    `images`, or in its only one. Pictures are scaled to the model's size.

    Standard input is a stream of .npy records, as numpy.save writes them one after another, or lines that are paths.
    Each is answered as soon as it is there.

    Errors are told on stderr, with --json and --csv in the image's record too.

    Exit codes: 0 all well; 1 a self-test that failed; 2 if anything else went wrong, one bad image among good ones
    included.
    """
    return classify(
        images or [],
        model=model,
        top=top,
        reject_below=reject_below,
        as_json=as_json,
        as_csv=as_csv,
        device=device,
        threads=threads,
        tf32=tf32,
        sha256=sha256,
        assume=assume,
        card=card,
        test=test,
        ort_log=ort_log,
        quiet=quiet,
    )


app = make_app(predict)
