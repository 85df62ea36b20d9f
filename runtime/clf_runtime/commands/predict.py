"""The command `clf-predict`: load a model, classify, print. Simple command lines are parsed without typer."""

import gc
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from clf_runtime.commands.answers import print_answers, watching_drift
from clf_runtime.commands.heat_map import explain_image, refuse_to_explain, write_heat_map
from clf_runtime.commands.options import ASSUME, DEVICE, HUB_TOO, ORT_LOG, QUIET, THREADS, Option, parse_plain
from clf_runtime.commands.shell import EXIT_FAILED, noting, run, say
from clf_runtime.errors import ModelError, UsageError
from clf_runtime.model.familiarity import NO_FAMILIARITY

if TYPE_CHECKING:
    from clf_runtime.classifier import Classifier
    from clf_runtime.commands.output import Format
    from clf_runtime.prediction import Reject

NAME = "clf-predict"
IMAGES = (
    ".npy or .npz files with one image or a batch, pictures (PNG, JPEG, WebP, BMP, GIF, TIFF, PPM, HEIC), folders of "
    "them, patterns such as 'shots/*.png', or - for standard input."
)
OPTIONS = (
    Option(
        "model",
        ("--model",),
        str,
        None,
        f"The .onnx file to run{HUB_TOO}.  [default: the bundled CIFAR-10 model]",
        "FILE",
        show_default=False,
    ),
    Option("top", ("--top",), int, 1, "Show the K most likely classes.", "K", least=1),
    Option(
        "reject_below",
        ("--reject-below",),
        float,
        0.0,
        "Call an image unknown if its probability is below P.",
        "P",
        show_default=False,
    ),
    Option(
        "reject",
        ("--reject",),
        str,
        None,
        "auto: call an image unknown if it is less familiar than all but 5 % of those that the model knows.",
        "auto",
        show_default=False,
    ),
    Option("as_json", ("--json",), bool, False, "Print one JSON object per image and line."),
    Option("as_csv", ("--csv",), bool, False, "Print CSV: a header, then one line per image."),
    Option(
        "explain",
        ("--explain",),
        Path,
        None,
        "Write a heat map of where the model saw the class of the one image, beside the image.",
        "OUT.png",
        show_default=False,
    ),
    Option(
        "drift_every",
        ("--drift-every",),
        int,
        None,
        "Summarise every N images on stderr, and say when they have changed.  [default: for standard input at its end]",
        "N",
        least=1,
        show_default=False,
    ),
    DEVICE,
    THREADS,
    Option("tf32", ("--tf32",), bool, False, "On CUDA, allow TF32: faster, less precise."),
    Option("sha256", ("--sha256",), str, None, "Refuse a model file with another SHA-256.", "HEX"),
    ASSUME,
    Option("card", ("--card",), bool, False, "Print the model card, and exit."),
    Option(
        "test",
        ("--self-test",),
        bool,
        False,
        "Run the model's golden cases, compare, and exit: 0 if all match, else 1.",
    ),
    ORT_LOG,
    QUIET,
)


def predict(
    images: Sequence[str],
    *,
    model: str | None,
    top: int,
    reject_below: float,
    reject: "Reject",
    as_json: bool,
    as_csv: bool,
    explain: Path | None,
    drift_every: int | None,
    device: str,
    threads: int,
    tf32: bool,
    sha256: str | None,
    assume: str | None,
    card: bool,
    test: bool,
    ort_log: str | None,
    quiet: bool,
) -> int:
    """Classify images with an ONNX model: class, name and probability of each.

    Arrays are [channels, height, width] or [height, width, channels], or a batch of either, in the dtype and range that
    the model was trained on; uint8 images and floats in 0..1 are converted into each other. An .npz file holds them in
    the array `images`, or in its only array. Pictures of any size, and uint8 arrays [height, width, 3], are resized to
    the model's input as its card says (see --card).

    unknown is said of an image whose probability is below --reject-below, which may be one of two known classes, and
    with --reject auto of one that is unlike those that the model knows; which of the two is in the record of --json.

    Standard input is a stream of .npy records, as numpy.save writes them one after another, or one picture, or paths,
    one per line. Each image is classified as soon as it arrives.

    --explain covers one patch of the image after another, about 300 in all, and draws by how much the log-odds of the
    class fall: red where the image speaks for the class, blue where against it.

    A stream is compared with the held-out images of the export: one line on stderr says when their appearance or the
    mix of classes has changed, and a summary follows at the end of standard input, or when the process gets SIGUSR1.

    Errors are printed on stderr, with --json and --csv also in the record of the image.

    Exit codes: 0 success; 1 the self-test failed; 2 any other error, even of a single image.
    """
    if card and test:
        raise UsageError("--card and --self-test exclude each other")
    if bool(images) == (card or test):
        raise UsageError("--card and --self-test take no images" if images else "no image given")
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    if as_csv and (card or test):
        raise UsageError("--card and --self-test print text or --json, not --csv")
    if not 0 <= reject_below <= 1:
        raise UsageError(f"--reject-below takes a probability in 0..1, not {reject_below}")
    if reject not in (None, "auto"):
        raise UsageError(f"--reject takes auto, not {reject}; --reject-below takes a probability")
    if images.count("-") > 1:
        raise UsageError("- is standard input, which can only be read once")
    if drift_every is not None and (quiet or card or test):
        raise UsageError("--drift-every excludes --quiet, --card and --self-test")
    if explain is not None:
        refuse_to_explain(images, explain)
    from clf_runtime.classifier import Classifier
    from clf_runtime.engine.threads import usable_threads
    from clf_runtime.model.file import find_model

    note = noting(NAME, quiet)
    said = None
    if assume is not None:
        from clf_runtime.model.assumptions import parse_assumptions

        said = parse_assumptions(assume)
    file = find_model(model, note)
    classifier = Classifier.load(
        file, device=device, threads=threads, tf32=tf32, log=ort_log, sha256=sha256, assume=said
    )
    if card or test:
        return _about(classifier, test=test, as_json=as_json)
    if reject is not None and classifier.card.familiarity is None:
        raise ModelError(f"{model or 'the bundled model'}: {NO_FAMILIARITY}")
    if not quiet:
        _introduce(classifier, file if model else None, rejects=reject_below > 0)
    form: Format = "json" if as_json else "csv" if as_csv else "text"
    threads = usable_threads(threads)
    explained = None if explain is None else explain_image(classifier, images[0])
    is_on = not quiet and (drift_every is not None or "-" in images)
    with watching_drift(classifier, NAME, drift_every, is_on=is_on) as watch:
        options: Any = {"top": top, "reject_below": reject_below, "reject": reject, "note": note}
        code = print_answers(classifier, images, form, NAME, watch, threads=threads, **options)
    if explain is not None and explained is not None:
        write_heat_map(explained, explain, None if quiet else NAME)
    return code


def _about(classifier: "Classifier", *, test: bool, as_json: bool) -> int:
    """Print the card, or run the self-test and print its result."""
    from clf_runtime.commands import describe
    from clf_runtime.evaluation.self_test import self_test

    if not test:
        print(describe.card_json(classifier) if as_json else "\n".join(describe.card_lines(classifier)))
        return 0
    result = self_test(classifier)
    print(describe.self_test_json(result) if as_json else "\n".join(describe.self_test_lines(result)))
    return 0 if result.passed else EXIT_FAILED


def _introduce(classifier: "Classifier", model: Path | None, *, rejects: bool) -> None:
    say(NAME, f"{model.name if model else 'the bundled model, conv.onnx,'} on {classifier.provider}")
    for note in classifier.notes:
        say(NAME, note)
    if rejects and math.isclose(classifier.card.temperature, 1, abs_tol=1e-12):
        say(NAME, "the card has no temperature, so the probabilities that --reject-below compares are not calibrated")


def main() -> NoReturn:
    """Run `clf-predict`."""
    gc.set_threshold(50_000)  # imported modules stay: collecting among them costs a cold start 10 ms
    run(_main, NAME, "cpu")


def program() -> NoReturn:
    """Run `clf-predict` as a process that ends at once, what it printed being out: its memory need not be freed.

    Taking the interpreter, onnxruntime and a model of 3 MB down takes 6 to 14 ms of a cold start of 160.
    """
    try:
        main()
    except SystemExit as end:
        os._exit(cast(int, end.code))


def _main() -> Any:
    words = sys.argv[1:]
    plain = parse_plain(OPTIONS, words)
    if plain is not None:
        images, options = plain
        return predict(images, **options)
    from clf_runtime.commands.typer_app import call, make_app_of

    return call(make_app_of(predict, OPTIONS, "IMAGE...", IMAGES), NAME, words)
