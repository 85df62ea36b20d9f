"""The command `clf-eval`: parse, evaluate, print."""

from typing import Annotated, NoReturn

import typer

from clf_runtime.commands.options import HUB_TOO
from clf_runtime.commands.progress import following
from clf_runtime.commands.shell import EXIT_FAILED, noting, say
from clf_runtime.commands.typer_app import (
    AssumeOption,
    DeviceOption,
    LogOption,
    ThreadsOption,
    make_app,
    run_app,
    show_version,
)

NAME = "clf-eval"


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"The .onnx file to evaluate{HUB_TOO}.")],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Labelled images in any layout that clf-train takes (a folder, a file, or the word digits); a test "
            "split alone is enough.",
        ),
    ],
    outliers: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|FILE",
            help="Images of no class, in files or in folders at any depth: how well the model tells them from DATA.",
        ),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out pictures that cannot be read; else they are an error.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    assume: AssumeOption = None,
    ort_log: LogOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> int:
    """Evaluate an ONNX model on labelled images: accuracy, recall, confusion matrix, calibration, near ties, time.

    If DATA has a test split, only that is evaluated. On the test images of the export, the accuracy is compared with
    the one on the model's card: it may differ by no more than the near ties, which rounding decides.

    With a familiarity in the file it says how many of these images are unknown, and with --outliers how many of those
    are accepted, and the AUROC of the familiarity and of the probability: 0.5 by chance, 1 if all are told apart.

    Exit codes: 0 success; 1 on the images of the export the accuracy differs by more than near ties explain; 2 any
    error, even of a single image.
    """
    from clf_runtime.classifier import Classifier
    from clf_runtime.commands.eval_text import eval_json, eval_lines
    from clf_runtime.datasets.labelled import open_labelled
    from clf_runtime.datasets.pictures import skipping
    from clf_runtime.engine.threads import usable_threads
    from clf_runtime.evaluation.evaluate import evaluate as score
    from clf_runtime.evaluation.unknown import tell_apart
    from clf_runtime.inputs.paths import find_files
    from clf_runtime.model.assumptions import parse_assumptions
    from clf_runtime.model.file import find_model
    from clf_runtime.pipeline import answer_files

    said = None if assume is None else parse_assumptions(assume)
    file = find_model(model, noting(NAME, quiet))
    classifier = Classifier.load(file, device=device, threads=threads, log=ort_log, assume=said)
    foreign = None if outliers is None else find_files(outliers, below=True)
    with following(NAME, quiet) as watch:
        labelled = open_labelled(
            data,
            classifier.card,
            skip_bad=skip_bad,
            threads=usable_threads(threads),
            watch=lambda done, of: watch(f"looking for broken pictures: {done:,} of {of:,}"),
        )
    if not quiet:
        say(NAME, f"{file.name} on {classifier.provider}, {labelled.images:,} images: {labelled.part}")
        for note in (*classifier.notes, *labelled.notes):
            say(NAME, note)
    with following(NAME, quiet) as watch:
        result = score(classifier, labelled, lambda done: watch(f"{done:,} of {labelled.images:,} images"))
    unknown = None
    if outliers is not None or result.familiarity is not None:
        familiarity = classifier.card.familiarity
        threshold = None if familiarity is None else familiarity.threshold
        answers = None
        if foreign is not None:
            answers = answer_files(classifier, foreign, threads=usable_threads(threads))
        values = (result.probability, result.familiarity)
        unknown = tell_apart(*values, answers, threshold, where=f"--outliers {outliers}", skip_bad=skip_bad)
        if unknown.skipped and not quiet:
            say(NAME, f"--outliers {outliers}: {skipping(unknown.skipped)}")
    told = (classifier, labelled, result, unknown)
    print(eval_json(*told) if as_json else "\n".join(eval_lines(*told)))
    return EXIT_FAILED if result.agreement == "different" else 0


app = make_app(evaluate)


def main() -> NoReturn:
    """Run `clf-eval`."""
    run_app(app, NAME, "cpu")
