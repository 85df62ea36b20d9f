"""Class-named folders of PNG or JPEG pictures: <class>/* below a folder, or below the `test` folder in it."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clf_runtime.bounded import read_bounded
from clf_runtime.datasets.listing import PICTURES, TEST_FOLDERS, class_folders, has_pictures, is_sheet, visible
from clf_runtime.datasets.source import Block, Source
from clf_runtime.errors import ImageError
from clf_runtime.inputs.pictures import MAX_FILE_BYTES, decode_picture
from clf_runtime.model.card import ModelCard


def recognises(path: Path) -> bool:
    """Whether a folder holds folders of pictures, or a `test` or `train` folder that does."""
    inner = (path / name for name in (*TEST_FOLDERS, "train"))
    return path.is_dir() and any(has_pictures(c) for folder in (path, *inner) for c in class_folders(folder))


def look(path: Path, card: ModelCard) -> Source:
    """Look at a folder: uint8 images [N, C, H, W], pictures of another size than the model's scaled to it.

    Raises ImageError for what is no picture, and where it is not clear which part is meant.
    """
    tests = [name for name in TEST_FOLDERS if any(has_pictures(c) for c in class_folders(path / name))]
    if len(tests) > 1:
        raise ImageError(f"{path}: both {tests[0]}/ and {tests[1]}/; name the one to evaluate")
    is_train = any(has_pictures(c) for c in class_folders(path / "train"))
    folder = path / tests[0] if tests else path / "train" if is_train else path
    classes = class_folders(folder)
    for entry in visible(folder):
        if entry not in classes and entry.name != "artifacts" and not is_sheet(entry):
            raise ImageError(f"{entry}: an extra file, not part of class-named folders; move it away")
    counts = [len(_pictures(c)) for c in classes]
    if not sum(counts):
        raise ImageError(f"{folder}: no pictures")
    labels = np.repeat(np.arange(len(classes)), counts)
    return Source(
        layout="class-named folders",
        where=str(folder),
        images=len(labels),
        names=tuple(c.name for c in classes),
        is_test_part=bool(tests) or path.name in TEST_FOLDERS,
        labels=lambda: labels,
        blocks=functools.partial(_blocks, classes, counts, card.image_shape),
        by_folder=True,
    )


def _pictures(folder: Path) -> list[Path]:
    pictures = visible(folder)
    for picture in pictures:
        if picture.suffix.lower() not in PICTURES or not picture.is_file():
            raise ImageError(f"{picture}: neither PNG nor JPEG; move it away")
    return pictures


def _blocks(
    classes: list[Path], counts: list[int], shape: tuple[int, int, int], size: int, keep: np.ndarray | None
) -> Iterator[Block]:
    images: list[np.ndarray] = []
    labels: list[int] = []
    places: list[str] = []
    first = 0
    for label, folder in enumerate(classes):
        pictures = _pictures(folder)
        if len(pictures) != counts[label]:
            raise ImageError(f"{folder}: its pictures have changed while they were read")
        for i, picture in enumerate(pictures, first):
            if keep is not None and not keep[i]:
                continue
            images.append(_decode(picture, shape))
            labels.append(label)
            places.append(str(picture))
            if len(images) == size:
                yield Block(np.stack(images), np.array(labels, np.int64), places)
                images, labels, places = [], [], []
        first += len(pictures)
    if images:
        yield Block(np.stack(images), np.array(labels, np.int64), places)


def _decode(file: Path, shape: tuple[int, int, int]) -> np.ndarray:
    data = read_bounded(file, MAX_FILE_BYTES)
    if data is None:
        raise ImageError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB")
    return decode_picture(data, str(file), shape[0], shape[1:]).transpose(2, 0, 1)
