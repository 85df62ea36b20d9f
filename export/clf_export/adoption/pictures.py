"""The user's pictures for an adoption: labelled ones in any layout, or a folder of others, read as a device reads them.

Letters in shapes: N images, C channels, H height, W width.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clf_export.errors import AdoptionError
from clf_runtime.bounded import read_bounded
from clf_runtime.datasets.class_names import match_names, names_beside
from clf_runtime.datasets.holdout import SPLIT_SEED, TEST_SHARE, hold_out
from clf_runtime.datasets.labelled import Labelled
from clf_runtime.datasets.layouts import LAYOUTS, WORDS, open_source
from clf_runtime.datasets.listing import down
from clf_runtime.datasets.order import like
from clf_runtime.datasets.source import Reading
from clf_runtime.engine.threads import usable_threads
from clf_runtime.errors import ClfError, ImageError
from clf_runtime.inputs.arrays import size_before, to_batch
from clf_runtime.inputs.files import read_images
from clf_runtime.inputs.paths import ARRAYS, find_files
from clf_runtime.inputs.pictures import MAX_FILE_BYTES, Room, decode_picture
from clf_runtime.model.card import ModelCard
from clf_train.data import spill

LEAST_DIVIDED = 100  # images of a source without a test part; of fewer all are tested


@dataclass(frozen=True)
class Pictures:
    """Images as the model takes them, uint8 [N, C, H, W], and their labels, int64 [N], None if they have none.

    `test` are the rows that the file is tested on, `rest` those to which int8 and a familiarity may be fitted. `layout`
    says what they were read from, `fingerprint` is a SHA-256 over images and labels.
    """

    images: np.ndarray
    labels: np.ndarray | None
    test: np.ndarray
    rest: np.ndarray
    layout: str
    fingerprint: str
    notes: tuple[str, ...]


def read_pictures(
    data: str, card: ModelCard, *, divide: bool, watch: Callable[[str], object] = lambda text: None
) -> Pictures:
    """Read images for a model with this card, which has a geometry only if it was stated.

    `data` is a labelled source, in any layout of clf-eval, whose classes are the card's by name, or by index where they
    are numbers; or a folder of pictures, a picture, or an array. With `divide` a fifth of the images of a source
    without a test part is the test part, if there are a hundred or more. `watch` is called with the progress.
    Raises AdoptionError, in one line, if the images cannot be read or do not fit, or if pictures have another size and
    the card has no geometry.
    """
    try:
        met = _Sizes(card)
        found = _labelled(data, card, met, watch) if _is_labelled(data) else _unlabelled(data, card, met)
    except AdoptionError:
        raise
    except ClfError as error:
        raise AdoptionError(str(error)) from None
    except OSError as error:
        raise AdoptionError(f"{error.filename or data}: cannot be read: {error.strerror or error}") from None
    if divide and not len(found.rest) and len(found.images) >= LEAST_DIVIDED:
        found = _divided(found)
    return found


class _Sizes:
    """Remembers a size of pictures, (height, width), that is not the model's; threads may share it."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self.other: tuple[int, int] | None = None

    def decode(self, picture: bytes, where: str, room: Room) -> np.ndarray:
        """Decode a picture as a device does: uint8 [H, W, C]."""
        card = self.card
        size = size_before(card)
        return decode_picture(
            picture, where, card.image_shape[0], size, card.picture_geometry, room=room, measured=self._measured
        )

    def _measured(self, size: tuple[int, int]) -> None:
        if size != self.card.image_shape[1:]:
            self.other = size

    def check(self, data: str) -> None:
        """Raise AdoptionError if pictures have another size, and nothing was stated of that."""
        if self.other is not None and self.card.geometry is None:
            here, there = ("x".join(map(str, size)) for size in (self.other, self.card.image_shape[1:]))
            raise AdoptionError(
                f"{data}: has pictures of {here}, the model takes {there}: also state how they are resized "
                "(--fit stretch, pad or crop)"
            )


def _is_labelled(data: str) -> bool:
    if data in WORDS:
        return True
    path = Path(data)
    if not path.exists():
        raise AdoptionError(f"{data}: no such file or folder")
    return any(layout.recognises(folder) for folder in down(path) for layout in LAYOUTS)


def _labelled(data: str, card: ModelCard, met: _Sizes, watch: Callable[[str], object]) -> Pictures:
    threads = usable_threads(0)
    source = open_source(data, Reading(met.decode, like(card.names), threads=threads))
    names = source.names or (None if data in WORDS else names_beside(Path(data)))
    classes, remark = match_names(source, names, card.names)
    test = None if source.test is None else source.test()
    others = [part() for part in (source.train, source.validation) if part is not None]
    opened = [*others, *([] if test is None else [test])]
    labels, images = [], spill.empty((sum(part.count for part in opened), *card.image_shape), np.uint8)
    done = 0
    for part in opened:
        labelled = Labelled(source, part, part.count, "", (), card, None, classes)
        for block in labelled.blocks(threads):
            met.check(data)
            images[done : done + len(block.labels)] = block.images
            labels.append(block.labels)
            done += len(block.labels)
            watch(f"reading {done:,} of {len(images):,} images")
    if not done:
        raise AdoptionError(f"{data}: contains no images")
    tested = 0 if test is None else test.count
    rows, first = np.arange(len(images)), len(images) - tested
    notes = (*source.notes, *(note for part in opened for note in part.notes), *([remark] if remark else []))
    if source.outliers is not None:
        notes = (
            *notes,
            "examples of what is no class are not used: an adopted file's familiarity has made outliers only",
        )
    found = Pictures(images, np.concatenate(labels), rows[first:], rows[:first], source.layout, "", notes)
    if test is None:
        found = replace(found, test=rows, rest=rows[:0])
    return _with_fingerprint(found)


def _unlabelled(data: str, card: ModelCard, met: _Sizes) -> Pictures:
    found: list[np.ndarray] = []
    for path in find_files(data):
        for images in _images_of(path, card, met):
            met.check(data)
            found += list(to_batch(images, card, path))
    if not found:
        raise AdoptionError(f"{data}: contains no images")
    images = np.stack(found)
    rows = np.arange(len(images))
    return _with_fingerprint(Pictures(images, None, rows, rows[:0], "images without labels", "", ()))


def _images_of(path: str, card: ModelCard, met: _Sizes) -> Iterator[np.ndarray]:
    if path.lower().endswith(ARRAYS):
        yield from (images for _, images in read_images(path, card))
        return
    data = read_bounded(path, MAX_FILE_BYTES)
    if data is None:
        raise ImageError(f"{path}: exceeds the limit of {MAX_FILE_BYTES >> 20} MiB")
    yield met.decode(data, path, nullcontext).transpose(2, 0, 1)


def _with_fingerprint(found: Pictures) -> Pictures:
    digest = hashlib.sha256(str(found.images.shape).encode())
    digest.update(np.ascontiguousarray(found.images).data)
    if found.labels is not None:
        digest.update(found.labels.astype("<i8").tobytes())
    return replace(found, fingerprint=digest.hexdigest())


def _divided(found: Pictures) -> Pictures:
    """The same, with the fifth that clf-train holds out as the test part: of each class, or of all without labels."""
    labels = np.zeros(len(found.images), np.int64) if found.labels is None else found.labels
    try:
        test = hold_out(labels, TEST_SHARE, SPLIT_SEED)
    except ValueError:  # a class with a single image
        return found
    return replace(found, test=test, rest=np.setdiff1d(found.test, test))
