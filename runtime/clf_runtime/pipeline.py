"""Files, folders and streams of images, classified one after another; an invalid one does not stop the others."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from io import BufferedIOBase
from typing import IO, Protocol, TypedDict, Unpack, cast

import numpy as np

from clf_runtime.bounded import as_path, read_bounded
from clf_runtime.errors import ClfError, ImageError, ModelError, called
from clf_runtime.inputs.files import picture_to_input, read_images
from clf_runtime.inputs.paths import ARRAYS, find_files
from clf_runtime.inputs.picture_formats import format_of
from clf_runtime.inputs.pictures import MAX_FILE_BYTES, Room
from clf_runtime.inputs.stream import Records, foreign_kind, read_paths
from clf_runtime.model.card import ModelCard
from clf_runtime.prediction import Prediction, Predictions, Reject

_LOOK = 512  # bytes of a stream that show what it holds
_EMPTY = "standard input: is empty; expected .npy records, a picture, or paths"

Note = Callable[[str], object]  # called with a sentence on what a picture holds beside the image that is classified


def _unheard(text: str) -> None:
    pass


Answered = tuple[int | None, Prediction | ImageError | ModelError]  # index in a batch, None for a single image


class Options(TypedDict, total=False):
    """What is asked of each prediction: see Classifier.predict."""

    distribution: bool
    reject_below: float
    reject: Reject


class ArrayClassifier(Protocol):
    """The part of `Classifier` that is needed here."""

    card: ModelCard

    def predict(self, image: np.ndarray, *, where: str = "image", **options: Unpack[Options]) -> Prediction:
        """See Classifier.predict."""
        ...

    def predict_batch(self, images: np.ndarray, **options: Unpack[Options]) -> Predictions:
        """See Classifier.predict_batch."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """The result for one image: a prediction, or the error that says why there is none; the other is None.

    `image` is the path as given or found; a record of a stream is called `-[n]`, n counting from 0. `index` is the
    image's index in a batch, None for a single image or where the whole file is invalid.
    """

    image: str
    index: int | None
    prediction: Prediction | None = None
    error: ClfError | None = None


def predict_file(
    classifier: ArrayClassifier,
    path: str | os.PathLike[str],
    *,
    note: Note = _unheard,
    room: Room = nullcontext,
    **options: Unpack[Options],
) -> Iterator[Answered]:
    """Classify each image of a file: see `Classifier.predict_file`."""
    where = as_path(path)
    images = read_images(where, classifier.card, note, room)
    yield from _predict_blocks(classifier, images, where, options)


def _predict_blocks(
    classifier: ArrayClassifier,
    blocks: Iterable[tuple[int | None, np.ndarray]],
    where: str,
    options: Options,
) -> Iterator[Answered]:
    """Classify images as `read_images` yields them; `where` names them in errors."""
    for first, block in blocks:
        if first is None:
            yield None, _predict(classifier, block, where, options)
            continue
        try:
            answers = classifier.predict_batch(block, **options)
        except (ImageError, ModelError):  # then one by one, so that an invalid image affects only itself
            for i, image in enumerate(block, first):
                yield i, _predict(classifier, image, f"{where}[{i}]", options)
        else:
            yield from enumerate(answers, first)


def _predict(
    classifier: ArrayClassifier, image: np.ndarray, where: str, options: Options
) -> Prediction | ImageError | ModelError:
    try:
        return classifier.predict(image, **options, where=where)
    except ImageError as error:
        return error
    except ModelError as error:
        return ModelError(f"{where}: {error}")


def answer_files(
    classifier: ArrayClassifier,
    images: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    note: Note = _unheard,
    threads: int = 1,
    **options: Unpack[Options],
) -> Iterator[Answer]:
    """Classify image files, folders and patterns, as `find_files` takes them, in order; `paths` may also be just one.

    `options` are those of `Classifier.predict`; `note` is called with what is not classified
    of a picture (of an animation all but the first frame). Pictures are decoded and classified in `threads` threads,
    arrays in one, in batches. Memory is constant. Errors that concern an image are not raised but in its answer.
    """

    def answer(path: str, note: Note, room: Room) -> Iterator[Answer]:
        found = predict_file(classifier, path, **options, note=note, room=room)
        return _answers(path, found)

    if threads > 1:
        from clf_runtime.inputs.parallel import Room as Shared
        from clf_runtime.inputs.parallel import in_order

        room = Shared(threads)
        keeps_size = classifier.card.input == "photo"
        ahead = in_order(lambda path: _answer_ahead(answer, path, room, keeps_size), _find(images), threads)
    else:
        ahead = ((path, None) for path in _find(images))
    for path, found in ahead:
        if isinstance(path, Answer):
            yield path
        elif found is None:
            yield from answer(path, note, nullcontext)
        else:
            notes, answers = found
            for text in notes:
                note(text)
            yield from answers


def _find(images: Iterable[str | os.PathLike[str]] | str | os.PathLike[str]) -> Iterator[str | Answer]:
    """The files that arguments stand for; of an argument that is none, the answer that says so."""
    for image in [images] if isinstance(images, str | os.PathLike) else images:
        try:
            paths = find_files(image)
        except ClfError as error:
            yield Answer(str(image) if isinstance(image, str | os.PathLike) else called(image), None, error=error)
            continue
        yield from paths


def _answer_ahead(
    answer: Callable[[str, Note, Room], Iterator[Answer]], path: str | Answer, room: Room, keeps_size: bool
) -> tuple[str | Answer, tuple[list[str], list[Answer]] | None]:
    """Answer one image in a thread: what was noted, and the answer; None for arrays, which may be any number.

    The room of a picture is free once it is decoded, or, if it keeps its size, once it is classified.
    """
    if isinstance(path, Answer) or path.lower().endswith(ARRAYS):
        return path, None
    notes, answers = list[str](), list[Answer]()
    with ExitStack() as held:

        def hold(pixels: int) -> AbstractContextManager[object]:
            held.enter_context(room(pixels))
            return nullcontext()

        for each in answer(path, notes.append, hold if keeps_size else room):
            if each.index is not None:
                return path, None
            answers.append(each)
    return path, (notes, answers)


def answer_stream(
    classifier: ArrayClassifier,
    stream: BufferedIOBase,
    *,
    note: Note = _unheard,
    **options: Unpack[Options],
) -> Iterator[Answer]:
    r"""Classify a stream, such as standard input, as it arrives: each image as soon as its last byte has been read.

    The first bytes decide what the stream holds: `.npy` records, one after another as `numpy.save` writes them; one
    picture; or lines, each the path of a file. Ends with the stream. A damaged record or a missing file gives an answer
    with an error, and the next ones are not affected; a stream that is empty, cannot be read, is text instead of bytes,
    or holds an archive or other binary data gives a single one.
    """
    try:
        first = stream.read(1)
        if isinstance(first, str):
            raise ImageError("expected a stream of bytes, such as sys.stdin.buffer, not of text")
        if not first:
            raise ImageError(_EMPTY)
        if first == b"\x93":
            yield from _answer_records(classifier, stream, first, options)
            return
        first += stream.read1(_LOOK - 1)
        if format_of(first) is not None and not os.path.lexists(first.partition(b"\n")[0].replace(b"\0", b"")):
            found = _predict_blocks(classifier, _picture(stream, first, classifier.card, note), "-", options)
            yield from _answers("-", found)
            return
        if kind := foreign_kind(first):
            expected = "expected .npy records, one picture, or paths of files, one per line"
            raise ImageError(f"standard input: holds {kind}; {expected}")
        yield from _answer_paths(classifier, stream, first, options, note)
    except ImageError as error:
        yield Answer("-", None, error=error)
    except OSError as error:
        yield Answer("-", None, error=ImageError(f"standard input: cannot be read: {error.strerror or error}"))


def _picture(
    stream: BufferedIOBase, first: bytes, card: ModelCard, note: Note
) -> Iterator[tuple[int | None, np.ndarray]]:
    """The picture that a stream is, as `read_images` yields that of a file."""
    data = read_bounded(cast(IO[bytes], stream), MAX_FILE_BYTES - len(first))
    if data is None:
        raise ImageError(f"standard input: a picture larger than {MAX_FILE_BYTES >> 20} MiB")
    yield None, picture_to_input(first + data, "standard input", card, note)


def _answer_paths(
    classifier: ArrayClassifier,
    stream: BufferedIOBase,
    first: bytes,
    options: Options,
    note: Note,
) -> Iterator[Answer]:
    path = None
    for path in read_paths(stream, first):
        if isinstance(path, ImageError):
            yield Answer("-", None, error=path)
        else:
            found = predict_file(classifier, path, **options, note=note)
            yield from _answers(path, found)
    if path is None:
        raise ImageError(_EMPTY)


def _answer_records(
    classifier: ArrayClassifier, stream: BufferedIOBase, first: bytes, options: Options
) -> Iterator[Answer]:
    records = Records(stream, first)
    number, is_lost = 0, False
    while records.seek_start() if is_lost else records.more():
        where, is_lost = f"-[{number}]", False
        found = _predict_blocks(classifier, records.next(classifier.card, where), where, options)
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
