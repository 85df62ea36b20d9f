"""Many images, answered one after another by one warm session; one that is at fault does not stop the others."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase

from clf_runtime.classifier import Classifier
from clf_runtime.errors import ClfError, ImageError, called
from clf_runtime.inputs.paths import find_files
from clf_runtime.inputs.stream import Records, foreign_kind, read_paths
from clf_runtime.prediction import Prediction

_LOOK = 512  # bytes of a stream that tell what it holds
_EMPTY = "standard input: is empty: it holds neither .npy records nor paths"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one image: a prediction, or the error that says why there is none; the other is None.

    `image` is the path as it was given or found; a record of a stream is called `-[n]`, n counting from 0. `index` is
    the image's place in a batch, None where there is one image only or where the whole of it is at fault.
    """

    image: str
    index: int | None
    prediction: Prediction | None = None
    error: ClfError | None = None


def answer_files(
    classifier: Classifier,
    images: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    distribution: bool = False,
    reject_below: float = 0.0,
) -> Iterator[Answer]:
    """Answer files of images, folders of them and patterns, as `find_files` takes them, in their order; or one of them.

    `distribution` and `reject_below` are those of `Classifier.predict`. Memory does not grow with what is read. Raises
    nothing that concerns an image: that is in its answer.
    """
    for image in [images] if isinstance(images, str | os.PathLike) else images:
        try:
            paths = find_files(image)
        except ClfError as error:
            yield Answer(str(image) if isinstance(image, str | os.PathLike) else called(image), None, error=error)
            continue
        for path in paths:
            found = classifier.predict_file(path, distribution=distribution, reject_below=reject_below)
            yield from _answers(path, found)


def answer_stream(
    classifier: Classifier, stream: BufferedIOBase, *, distribution: bool = False, reject_below: float = 0.0
) -> Iterator[Answer]:
    r"""Answer a stream, such as standard input, as it comes: each image before more is read than it takes.

    The first bytes tell what the stream holds: `.npy` records, one after another as `numpy.save` writes them, or lines,
    each the path of one file. Ends when the stream does. A damaged record or a missing file is an answer with an error,
    and the rest goes on; so is, but once, a stream without anything in it, of an archive, of pictures or of other
    binary data, of text instead of bytes, or one that cannot be read.
    """
    try:
        first = stream.read(1)
        if isinstance(first, str):
            raise ImageError("a stream of text where one of bytes is wanted, as sys.stdin.buffer is")
        if not first:
            raise ImageError(_EMPTY)
        if first == b"\x93":
            yield from _answer_records(classifier, stream, first, distribution, reject_below)
            return
        first += stream.read1(_LOOK - 1)
        if kind := foreign_kind(first):
            raise ImageError(f"standard input: holds {kind}: give .npy records, or the paths of files, one a line")
        yield from _answer_paths(classifier, stream, first, distribution, reject_below)
    except ImageError as error:
        yield Answer("-", None, error=error)
    except OSError as error:
        yield Answer("-", None, error=ImageError(f"standard input: cannot be read: {error.strerror or error}"))


def _answer_paths(
    classifier: Classifier, stream: BufferedIOBase, first: bytes, distribution: bool, reject_below: float
) -> Iterator[Answer]:
    path = None
    for path in read_paths(stream, first):
        if isinstance(path, ImageError):
            yield Answer("-", None, error=path)
        else:
            found = classifier.predict_file(path, distribution=distribution, reject_below=reject_below)
            yield from _answers(path, found)
    if path is None:
        raise ImageError(_EMPTY)


def _answer_records(
    classifier: Classifier, stream: BufferedIOBase, first: bytes, distribution: bool, reject_below: float
) -> Iterator[Answer]:
    records = Records(stream, first)
    number, is_lost = 0, False
    while records.seek_start() if is_lost else records.more():
        where, is_lost = f"-[{number}]", False
        found = classifier.predict_blocks(
            records.next(classifier.card, where), where, distribution=distribution, reject_below=reject_below
        )
        for answer in _answers(where, found):
            is_lost = answer.error is not None and answer.index is None
            yield answer
        number += 1


def _answers(image: str, found: Iterable[tuple[int | None, Prediction | ClfError]]) -> Iterator[Answer]:
    try:
        for index, answer in found:
            if isinstance(answer, ClfError):
                yield Answer(image, index, error=answer)
            else:
                yield Answer(image, index, answer)
    except ClfError as error:
        yield Answer(image, None, error=error)
    except MemoryError:
        yield Answer(image, None, error=ImageError(f"{image}: not enough memory"))
