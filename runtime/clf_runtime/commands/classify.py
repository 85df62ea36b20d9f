"""What `clf-predict` does: load a model, classify, print."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clf_runtime.commands.shell import EXIT_FAILED, fail, say, standard_input
from clf_runtime.errors import UsageError

if TYPE_CHECKING:
    from clf_runtime.answers import Answer
    from clf_runtime.classifier import Classifier
    from clf_runtime.commands.output import Format

NAME = "clf-predict"


def classify(
    images: Sequence[str],
    *,
    model: Path | None = None,
    top: int = 1,
    reject_below: float = 0.0,
    as_json: bool = False,
    as_csv: bool = False,
    device: str = "auto",
    threads: int = 1,
    tf32: bool = False,
    sha256: str | None = None,
    assume: str | None = None,
    card: bool = False,
    test: bool = False,
    ort_log: str | None = None,
    quiet: bool = False,
) -> int:
    """Print a line for each image (paths, patterns, or - for standard input), or tell of the model; the exit code.

    The options are those of the command. Raises UsageError for those that do not go together, and what Classifier.load
    raises.
    """
    if card and test:
        raise UsageError("--card and --self-test are two things to do, give one of them")
    if bool(images) == (card or test):
        raise UsageError("--card and --self-test take no images" if images else "no image is given")
    if as_json and as_csv:
        raise UsageError("--json and --csv are two forms of output, give one of them")
    if as_csv and (card or test):
        raise UsageError("--card and --self-test print text or --json, not --csv")
    if not 0 <= reject_below <= 1:
        raise UsageError(f"--reject-below takes a probability in 0..1, not {reject_below}")
    if images.count("-") > 1:
        raise UsageError("- is standard input, which can be read once only")
    from clf_runtime.classifier import Classifier

    said = None
    if assume is not None:
        from clf_runtime.model.assumptions import parse_assumptions

        said = parse_assumptions(assume)
    classifier = Classifier.load(
        model, device=device, threads=threads, tf32=tf32, log=ort_log, sha256=sha256, assume=said
    )
    if card or test:
        return _about(classifier, test=test, as_json=as_json)
    if not quiet:
        _introduce(classifier, model, rejects=reject_below > 0)
    form: Format = "json" if as_json else "csv" if as_csv else "text"
    return _print_answers(classifier, images, form, top=top, reject_below=reject_below)


def _about(classifier: "Classifier", *, test: bool, as_json: bool) -> int:
    """Print the card, or run the self-test and print how it ended."""
    from clf_runtime.commands import describe
    from clf_runtime.evaluation.self_test import self_test

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


def _print_answers(
    classifier: "Classifier", images: "Sequence[str]", form: "Format", *, top: int, reject_below: float
) -> int:
    """Print a line for each answer as they come, and return the exit code."""
    from clf_runtime.commands.output import csv_header, to_line

    code, top = 0, min(top, len(classifier.card.names))
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
