"""The command `clf-predict`: parse, classify, print."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from clf_runtime.command import fail, make_app, one_line, run, say, show_version
from clf_runtime.errors import ClfError, ImageError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clf_runtime.classifier import Classifier, Prediction

NAME = "clf-predict"
EXIT_FAILED = 1  # a self-test


def predict(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE...", help=".npy files of one image or a batch, or PNG or JPEG pictures."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The .onnx file to run.  [default: the CIFAR-10 model that ships]"),
    ] = None,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="Show the K likeliest classes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each image.")] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="auto takes CUDA when it works, else the CPU; cuda never falls back."),
    ] = "auto",
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="Refuse a model file that has not this SHA-256.")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Print what the model file says of itself, and exit.")] = False,
    test: Annotated[
        bool,
        typer.Option("--self-test", help="Answer the model's golden cases, compare, and exit: 0 if all agree, else 1."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> int:
    """Classify images with an ONNX model: class, name and probability of each.

    Arrays are [channels, height, width] or [height, width, channels], or a batch of either, in the dtype and range that
    the model was trained on; uint8 images and floats in 0..1 stand for each other. Pictures are scaled to the model's
    size.

    Exit codes: 0 all well; 1 a self-test that failed; 2 if anything else went wrong, one bad image among good ones
    included.
    """
    if card and test:
        raise typer.BadParameter("--card and --self-test are two things to do, give one of them")
    if bool(images) == (card or test):
        raise typer.BadParameter("--card and --self-test take no images" if images else "no image is given")
    from clf_runtime.classifier import Classifier

    classifier = Classifier.load(model, device=device, sha256=sha256)
    if card or test:
        return _about(classifier, test=test, as_json=as_json)
    return _classify(classifier, images or [], model, top=top, as_json=as_json, quiet=quiet)


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


def _classify(
    classifier: "Classifier", images: "Sequence[Path]", model: Path | None, *, top: int, as_json: bool, quiet: bool
) -> int:
    if not quiet:
        say(NAME, f"{model.name if model else 'the model that ships, conv.onnx,'} on {classifier.provider}")
        for note in classifier.notes:
            say(NAME, note)
    code = 0
    for path in images:
        try:
            for index, answer in classifier.predict_file(path, distribution=top > 1 or as_json):
                if isinstance(answer, ClfError):
                    code = fail(NAME, str(answer))
                else:
                    ranking = rank(answer, classifier.card.names, top)
                    print(to_json(path, index, answer, ranking) if as_json else to_text(path, index, ranking))
        except (ImageError, MissingExtraError) as error:
            code = fail(NAME, str(error))
    return code


def rank(prediction: "Prediction", names: "Sequence[str]", top: int) -> "list[tuple[str, float]]":
    """Return the `top` likeliest (class name, probability), likeliest first."""
    if prediction.distribution is None:
        return [(prediction.name, prediction.probability)]
    order = (-prediction.distribution).argsort(kind="stable")[:top]
    return [(names[i], float(prediction.distribution[i])) for i in order]


def to_text(path: Path, index: int | None, ranking: "list[tuple[str, float]]") -> str:
    """One line: the image, then each class with its probability."""
    classes = "  ".join(f"{one_line(name)} {probability:.4f}" for name, probability in ranking)
    return f"{one_line(str(path))}{'' if index is None else f'[{index}]'}: {classes}"


def to_json(path: Path, index: int | None, prediction: "Prediction", ranking: "list[tuple[str, float]]") -> str:
    """One JSON object a line; `index` is null where the file holds one image."""
    record = {
        "image": str(path),
        "index": index,
        "class": prediction.index,
        "name": prediction.name,
        "probability": prediction.probability,
        "top": [{"name": name, "probability": probability} for name, probability in ranking],
        "model_sha256": prediction.model_sha256,
        "provider": prediction.provider,
    }
    return json.dumps(record, allow_nan=False)


app = make_app(predict)


def main() -> NoReturn:
    """Run `clf-predict`."""
    run(app, NAME, "cpu")
