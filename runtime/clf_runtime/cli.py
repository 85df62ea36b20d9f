"""The command `clf-predict`: parse, classify, print."""

import gc
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from clf_runtime.command import (
    EXIT_FAILED,
    DeviceOption,
    LogOption,
    ThreadsOption,
    fail,
    make_app,
    run,
    say,
    show_version,
    standard_input,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clf_runtime.answers import Answer
    from clf_runtime.classifier import Classifier
    from clf_runtime.output import Format

NAME = "clf-predict"


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
        typer.Option(metavar="FILE", help="The .onnx file to run.  [default: the CIFAR-10 model that ships]"),
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
    if card and test:
        raise typer.BadParameter("--card and --self-test are two things to do, give one of them")
    if bool(images) == (card or test):
        raise typer.BadParameter("--card and --self-test take no images" if images else "no image is given")
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv are two forms of output, give one of them")
    if as_csv and (card or test):
        raise typer.BadParameter("--card and --self-test print text or --json, not --csv")
    if not 0 <= reject_below <= 1:
        raise typer.BadParameter(f"--reject-below takes a probability in 0..1, not {reject_below}")
    if (images or []).count("-") > 1:
        raise typer.BadParameter("- is standard input, which can be read once only")
    from clf_runtime.classifier import Classifier

    classifier = Classifier.load(model, device=device, threads=threads, tf32=tf32, log=ort_log, sha256=sha256)
    if card or test:
        return _about(classifier, test=test, as_json=as_json)
    if not quiet:
        _introduce(classifier, model, rejects=reject_below > 0)
    form: Format = "json" if as_json else "csv" if as_csv else "text"
    return _classify(classifier, images or [], form, top=top, reject_below=reject_below)


def _about(classifier: "Classifier", *, test: bool, as_json: bool) -> int:
    """Print the card, or run the self-test and print how it ended."""
    from clf_runtime import describe
    from clf_runtime.golden import self_test

    if not test:
        print(describe.card_json(classifier) if as_json else "\n".join(describe.card_lines(classifier)))
        return 0
    result = self_test(classifier)
    print(describe.self_test_json(result) if as_json else "\n".join(describe.self_test_lines(result)))
    return 0 if result.passed else EXIT_FAILED


def _introduce(classifier: "Classifier", model: Path | None, *, rejects: bool) -> None:
    say(NAME, f"{model.name if model else 'the model that ships, conv.onnx,'} on {classifier.provider}")
    for note in classifier.notes:
        say(NAME, note)
    if rejects and math.isclose(classifier.card.temperature, 1, abs_tol=1e-12):
        say(NAME, "its card names no temperature, so the probability that --reject-below goes by is not calibrated")


def _classify(
    classifier: "Classifier", images: "Sequence[str]", form: "Format", *, top: int, reject_below: float
) -> int:
    """Print a line for each answer as they come, and return the exit code."""
    from clf_runtime.output import csv_header, to_line

    code = 0
    answers = _answers(classifier, images, distribution=top > 1 or form == "json", reject_below=reject_below)
    with suppress(BrokenPipeError):  # nobody reads on; what went wrong until then stays wrong
        if form == "csv":
            print(csv_header(top))
        for answer, is_live in answers:
            if answer.error is not None:
                code = fail(NAME, str(answer.error))
            if answer.error is None or form != "text":
                print(to_line(answer, form, classifier.card.names, top) + "\n", end="", flush=is_live)  # in one piece
    return code


def _answers(
    classifier: "Classifier", images: "Sequence[str]", *, distribution: bool, reject_below: float
) -> "Iterator[tuple[Answer, bool]]":
    """Yield the answers to all arguments, and whether each is one to standard input, for which somebody may wait."""
    from clf_runtime.answers import answer_files, answer_stream

    for image in images:
        if image != "-":
            for answer in answer_files(classifier, [image], distribution=distribution, reject_below=reject_below):
                yield answer, False
        else:
            stream = standard_input()
            for answer in answer_stream(classifier, stream, distribution=distribution, reject_below=reject_below):
                yield answer, True


app = make_app(predict)


def main() -> NoReturn:
    """Run `clf-predict`."""
    gc.set_threshold(50_000)  # what is imported stays: looking through it for garbage costs a cold prediction 10 ms
    run(app, NAME, "cpu")
