"""Class-named folders of PNG or JPEG pictures: train/<class>/* and test/<class>/*, or <class>/* alone."""

from pathlib import Path

import numpy as np

from clf_runtime.bounded import read_bounded
from clf_runtime.datasets.listing import PICTURES, TEST_FOLDERS, class_folders, has_pictures, visible
from clf_runtime.errors import ClfError
from clf_runtime.inputs.pictures import MAX_FILE_BYTES, decode_picture
from clf_train.data import spill
from clf_train.data.dataset import Part, Parts
from clf_train.data.listing import refuse_extra
from clf_train.errors import DataError

_LAYOUT = "class-named folders"


def recognises(path: Path) -> bool:
    """Whether a folder holds folders of pictures, or a `train` folder that does."""
    return path.is_dir() and any(has_pictures(c) for c in (*class_folders(path), *class_folders(path / "train")))


def read(path: Path) -> Parts:
    """Decode every picture, uint8 [N, 3, H, W]; the classes are the training folders in sorted order.

    Raises DataError for what is no picture or of another size, or if there is no room for them: see spill.
    """
    if not any(has_pictures(c) for c in class_folders(path / "train")):  # there is none, or it is the class of trains
        refuse_extra(path, [c.name for c in class_folders(path)], "class-named folders")
        names = tuple(c.name for c in class_folders(path))
        return Parts(_LAYOUT, _read_part(path, names, None), names=names)
    tests = [name for name in TEST_FOLDERS if (path / name).is_dir()]
    if len(tests) > 1:
        raise DataError(f"{path}: both {tests[0]}/ and {tests[1]}/; keep one test part in the folder")
    refuse_extra(path, ("train", *tests), "train/ and test/ folders")
    names = tuple(c.name for c in class_folders(path / "train"))
    train = _read_part(path / "train", names, None)
    if not tests:
        return Parts(_LAYOUT, train, names=names)
    _, _, height, width = train.images.shape
    return Parts(_LAYOUT, train, _read_part(path / tests[0], names, (height, width)), names)


def _read_part(folder: Path, names: tuple[str, ...], size: tuple[int, int] | None) -> Part:
    refuse_extra(folder, [c.name for c in class_folders(folder)], "class-named folders")
    for extra in {c.name for c in class_folders(folder)} - set(names):
        raise DataError(f"{folder / extra}: a class without training images")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        if not (folder / name).is_dir():
            continue
        pictures = visible(folder / name)
        for picture in pictures:
            if picture.suffix.lower() not in PICTURES or not picture.is_file():
                raise DataError(f"{picture}: neither PNG nor JPEG; move it away")
        files += pictures
        labels += [label] * len(pictures)
    if not files:
        raise DataError(f"{folder}: no pictures")
    images: np.ndarray | None = None
    for i, file in enumerate(files):
        picture_hwc = _decode(file)
        if size is None:
            size = picture_hwc.shape[:2]
        if picture_hwc.shape[:2] != size:
            raise DataError(
                f"{file}: {picture_hwc.shape[1]}x{picture_hwc.shape[0]} pixels where "
                f"{files[0] if i else 'training'} has {size[1]}x{size[0]}; scale all pictures to one size first"
            )
        if images is None:
            images = spill.empty((len(files), 3, *size), np.uint8)
        images[i] = picture_hwc.transpose(2, 0, 1)
    assert images is not None
    return Part(images, np.array(labels), str(folder))


def _decode(file: Path) -> np.ndarray:
    data = read_bounded(file, MAX_FILE_BYTES)
    if data is None:
        raise DataError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        return decode_picture(data, str(file), channels=3)
    except ClfError as error:
        raise DataError(str(error)) from None
