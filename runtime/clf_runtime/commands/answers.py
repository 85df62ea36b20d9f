"""The answers of `clf-predict`, printed one by one as they arrive, and watched for drift."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any

from clf_runtime.commands.shell import fail, standard_input

if TYPE_CHECKING:
    from clf_runtime.classifier import Classifier
    from clf_runtime.commands.drift import Watch
    from clf_runtime.commands.output import Format
    from clf_runtime.pipeline import Answer, Note
    from clf_runtime.prediction import Reject


def watching_drift(
    classifier: "Classifier", name: str, every: int | None, *, is_on: bool
) -> "AbstractContextManager[Watch | None]":
    """A block in which a Watch may be told of the predictions; of None if it is not on."""
    if not is_on:
        return nullcontext()
    from clf_runtime.commands.drift import watching

    return watching(classifier.card, name, every)


def print_answers(
    classifier: "Classifier",
    images: "Sequence[str]",
    form: "Format",
    name: str,
    watch: "Watch | None",
    *,
    top: int,
    reject_below: float,
    reject: "Reject",
    note: "Note",
    threads: int,
) -> int:
    """Print a line for each answer as it arrives, on stderr for the command `name`, and return the exit code."""
    from clf_runtime.commands.output import csv_header, to_line

    code, top = 0, min(top, len(classifier.card.names))
    is_whole = top > 1 or form == "json" or (watch is not None and (reject_below > 0 or reject is not None))
    options: Any = {"distribution": is_whole, "reject_below": reject_below, "reject": reject, "note": note}
    answers = _answers(classifier, images, options, threads)
    with suppress(BrokenPipeError):  # the reader has gone; errors until then still count
        if form == "csv":
            print(csv_header(top))
        for answer, is_live in answers:
            if answer.error is not None:
                code = fail(name, str(answer.error))
            if answer.error is None or form != "text":
                print(to_line(answer, form, classifier.card.names, top) + "\n", end="", flush=is_live)  # in one piece
            if watch is not None and answer.prediction is not None:
                watch.add(answer.prediction)
    return code


def _answers(
    classifier: "Classifier", images: "Sequence[str]", options: "Mapping[str, Any]", threads: int
) -> "Iterator[tuple[Answer, bool]]":
    """Yield the answers for all arguments, each with whether it is for standard input, so that output is flushed."""
    from clf_runtime.pipeline import answer_files, answer_stream

    for is_stream, group in groupby(images, lambda image: image == "-"):
        if is_stream:
            for answer in answer_stream(classifier, standard_input(), **options):
                yield answer, True
        else:
            for answer in answer_files(classifier, group, **options, threads=threads):
                yield answer, False
