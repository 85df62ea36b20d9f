"""The images of a partition, classified one after another: pictures, arrays, those in archives and parquet files."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from clf_runtime.datasets.archive_tree import Inside, root_of
from clf_runtime.datasets.listing import visible
from clf_runtime.datasets.parquet import read_pictures
from clf_runtime.datasets.parquet_file import look_at
from clf_runtime.datasets.places import Content
from clf_runtime.datasets.tar import each_member
from clf_runtime.datasets.zip_archive import ZipArchive
from clf_runtime.errors import ClfError, ImageError, MissingExtraError
from clf_runtime.inputs import picture_formats
from clf_runtime.inputs.files import picture_to_input
from clf_runtime.inputs.parallel import in_order
from clf_runtime.inputs.pictures import MAX_FILE_BYTES
from clf_runtime.pipeline import Answer, predict_file
from clf_runtime.prediction import Reject
from clf_runtime.scoring.plan import SPLIT_BYTES, Partition
from clf_runtime.scoring.source import PARQUET, TARS, ZIPS
from clf_runtime.scoring.storage import File, as_local, is_remote, read_file, unreadable

if TYPE_CHECKING:
    from clf_runtime.classifier import Classifier

_FETCHING = 8  # threads, since a request takes longer than a picture


class Asked(TypedDict):
    """What is asked of each prediction: see Classifier.predict."""

    distribution: bool
    reject_below: float
    reject: Reject


def answer_partition(classifier: "Classifier", partition: Partition, **asked: Unpack[Asked]) -> Iterator[Answer]:
    """Yield an answer for each image of a partition, in order and in constant memory.

    An image that cannot be read has an answer with its error. A .tar, .zip or .parquet without any picture has one too.
    Raises what no image is to blame for: MissingExtraError if a package is missing, OSError if a file behind a URI
    cannot be reached.
    """
    for file, fetched in _ahead(partition.files):
        for answer in _answer(classifier, file.path, fetched, partition, asked):
            if isinstance(answer.error, MissingExtraError):
                raise answer.error
            yield answer


def _ahead(files: Sequence[File]) -> Iterator[tuple[File, tuple[Content] | None]]:
    """Each file; with it the content of a picture behind a URI, several of which are fetched at once."""
    if any(is_remote(file.path) for file in files):
        return in_order(_fetch, files, _FETCHING, lambda file: file.size if _is_far_picture(file.path) else 0)
    return ((file, None) for file in files)


def _fetch(file: File) -> tuple[File, tuple[Content] | None]:
    if not _is_far_picture(file.path):
        return file, None
    try:
        return file, (read_file(file.path, MAX_FILE_BYTES),)
    except FileNotFoundError as error:  # any other error is the network's: a row of it would be there for good
        return file, (unreadable(file.path, error),)


def _is_far_picture(path: str) -> bool:
    return is_remote(path) and path.lower().endswith(picture_formats.SUFFIXES)


def _answer(
    classifier: "Classifier", path: str, fetched: tuple[Content] | None, partition: Partition, asked: Asked
) -> Iterator[Answer]:
    """The answers for a file, or for the partition's split of it."""
    if fetched is not None:
        yield _answer_bytes(classifier, fetched[0], path, path, None, asked)
        return
    name = path.lower()
    try:
        with as_local(path) as local:
            if name.endswith(TARS):
                found = _answer_tar(classifier, local, partition, asked)
            elif name.endswith(ZIPS):
                found = _answer_zip(classifier, local, asked)
            elif name.endswith(PARQUET):
                found = _answer_parquet(classifier, local, partition, asked)
            else:
                found = _answer_file(classifier, str(local), asked)
            for answer in found:
                yield answer if str(local) == path else _renamed(answer, str(local), path)
    except OSError as error:
        if is_remote(path) and not isinstance(error, FileNotFoundError):
            raise
        yield Answer(path, None, error=unreadable(path, error))


def _renamed(answer: Answer, local: str, path: str) -> Answer:
    """An answer for a copy as one for the file that was copied."""
    error = answer.error and ImageError(str(answer.error).replace(local, path))
    return replace(answer, image=answer.image.replace(local, path, 1), error=error)


def _answer_file(classifier: "Classifier", path: str, asked: Asked) -> Iterator[Answer]:
    """The answers for a picture, or for an array or a batch of them."""
    try:
        for index, found in predict_file(classifier, path, **asked):
            is_error = isinstance(found, ClfError)
            yield Answer(path, index, error=found) if is_error else Answer(path, index, found)  # type: ignore[arg-type]
    except ClfError as error:
        yield Answer(path, None, error=error)
    except MemoryError:
        yield Answer(path, None, error=ImageError(f"{path}: not enough memory"))


def _answer_bytes(
    classifier: "Classifier",
    content: Content,
    where: str,
    image: str,
    index: int | None,
    asked: Asked,
) -> Answer:
    """The answer for an encoded picture, None for a too large one."""
    if content is None:
        content = ImageError(f"{where}: exceeds the limit of {MAX_FILE_BYTES >> 20} MiB")
    if isinstance(content, ImageError):
        return Answer(image, index, error=content)
    try:
        pixels = picture_to_input(content, where, classifier.card)
        return Answer(image, index, classifier.predict(pixels, where=where, **asked))
    except ClfError as error:
        return Answer(image, index, error=error)
    except MemoryError:
        return Answer(image, index, error=ImageError(f"{where}: not enough memory"))


def _answer_tar(classifier: "Classifier", path: Path, partition: Partition, asked: Asked) -> Iterator[Answer]:
    """The answers for the pictures of a tar archive whose headers are in the split.

    A damaged header is the error of the split that has the last sound one before it.
    """
    first, end = SPLIT_BYTES * partition.split, SPLIT_BYTES * (partition.split + 1)
    is_last, at, found = partition.split == partition.of - 1, 0, 0
    try:
        for member in each_member(path):
            if member.offset >= end and not is_last:
                return
            at = member.offset
            if at < first or not member.is_file or not member.name.lower().endswith(picture_formats.SUFFIXES):
                continue
            found += 1
            name = f"{path}/{member.name}"
            content = member.read(MAX_FILE_BYTES) if member.size <= MAX_FILE_BYTES else None
            yield _answer_bytes(classifier, content, name, name, None, asked)
    except ImageError as error:
        if first <= at:
            yield Answer(str(path), None, error=error)
        return
    if not found and partition.of == 1:
        yield Answer(str(path), None, error=ImageError(f"{path}: contains no picture"))


def _answer_zip(classifier: "Classifier", path: Path, asked: Asked) -> Iterator[Answer]:
    """The answers for the pictures of a zip archive, folder by folder, without hidden and system files."""
    try:
        archive = ZipArchive(path)
        pictures = list(_pictures_below(root_of(archive)))
    except ImageError as error:
        yield Answer(str(path), None, error=error)
        return
    if not pictures:
        yield Answer(str(path), None, error=ImageError(f"{path}: contains no picture"))
    contents = archive.read_all([picture.node for picture in pictures], MAX_FILE_BYTES)
    for picture, content in zip(pictures, contents, strict=True):
        yield _answer_bytes(classifier, content, str(picture), str(picture), None, asked)


def _pictures_below(folder: Inside) -> Iterator[Inside]:
    for entry in visible(folder):
        if entry.is_dir():
            yield from _pictures_below(entry)
        elif entry.name.lower().endswith(picture_formats.SUFFIXES):
            yield entry


def _answer_parquet(classifier: "Classifier", path: Path, partition: Partition, asked: Asked) -> Iterator[Answer]:
    """The answers for the rows of a parquet file that are in the split; what is damaged is an error of each row."""
    try:
        file = look_at(path, labelled=False)
    except (ImageError, MissingExtraError) as error:
        if partition.split == 0 or isinstance(error, MissingExtraError):
            yield Answer(str(path), None, error=error)
        return
    rows = range(file.rows * partition.split // partition.of, file.rows * (partition.split + 1) // partition.of)
    given = 0
    try:
        for content in read_pictures(file, np.arange(rows.start, rows.stop)):
            index = rows[given]
            yield _answer_bytes(classifier, content, f"{path}[{index}]", str(path), index, asked)
            given += 1
    except ImageError as error:
        for index in rows[given:]:
            yield Answer(str(path), index, error=error)
    if not file.rows:
        yield Answer(str(path), None, error=ImageError(f"{path}: contains no picture"))
