"""Pictures of any size resized to one: the choice of the size, and the notes about it."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clf_runtime.datasets import layouts
from clf_runtime.datasets.source import Decoded, Pictures, Reading
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.inputs.pictures import Room, decode_picture, picture_size
from clf_runtime.model.geometry import Geometry
from clf_train.data import spill
from clf_train.errors import DataError

Size = tuple[int, int]  # height, width

SMALL, MEDIUM = 32, 64  # sides of pictures of several sizes
_SMALLEST = 48  # of the longer side, up to which SMALL is chosen
_LARGEST = 256  # up to which pictures of one size keep it
_SAMPLE = 200  # pictures whose headers are read


@dataclass(frozen=True)
class Met:
    """What was found in pictures: their sizes, and notes about those with several frames, by their names."""

    sizes: set[Size] = field(default_factory=set)
    moving: dict[str, str] = field(default_factory=dict)

    def add(self, other: "Met") -> None:
        """Add what was found elsewhere."""
        self.sizes.update(other.sizes)
        self.moving.update(other.moving)


class Decoder:
    """Decodes pictures into uint8 [height, width, 3] of one size, and records what it found; threads may share it."""

    def __init__(self, size: Size | None, geometry: Geometry) -> None:
        """Decode to `size` as `geometry` says; None is for sources without pictures."""
        self.size, self.geometry = size, geometry
        self.met = Met()

    def decode(self, data: bytes, where: str, room: Room) -> np.ndarray:
        """Decode one picture; `where` names it in errors. Raises ImageError as `decode_picture` does."""

        def note(text: str) -> None:
            self.met.moving[where] = text

        return decode_picture(data, where, 3, self.size, self.geometry, note, room, self.met.sizes.add)

    def notes(self) -> tuple[str, ...]:
        """Notes about what was done to the pictures; none if all had the size already."""
        notes = []
        if self.met.sizes - {self.size} and self.size is not None:
            (least, most), geometry = _span(self.met.sizes), self.geometry
            sizes = f"{_x(least)}" if least == most else f"{_x(least)} to {_x(most)}"
            done = {"stretch": "stretched to", "pad": "padded to", "crop": "cropped to"}[geometry.fit]
            notes.append(f"pictures of {sizes} pixels were {done} {_x(self.size)} (see --image-size and --fit)")
        if moving := self.met.moving:
            more = f", and {len(moving) - 1:,} more" * (len(moving) > 1)
            notes.append(f"{moving[min(moving)]}{more}")
        return tuple(notes)


def sample_sizes(source: Path) -> tuple[list[Size], bool]:
    """The sizes of up to 200 images of a source, evenly spread, and whether they are pictures.

    Pictures that cannot be read are ignored. Raises ImageError if the layout is unknown.
    """
    sizes: list[Size] = []
    found: list[Pictures] = []
    blank = np.zeros((3, 1, 1), np.uint8)

    def measure(data: bytes, where: str, room: Room) -> np.ndarray:
        sizes.append(picture_size(data, where))
        return blank

    def keep(pictures: Pictures) -> Decoded:
        found.append(pictures)
        return lambda rows: iter([blank] * len(rows))  # so that broken ones are not searched

    looked = layouts.open_source(source, Reading(measure, skip_bad=True, keep=keep))
    opened = looked.train or looked.test
    assert opened is not None
    part = opened()
    if part.image_shape is not None:
        return [_size_of(part.image_shape)], False
    [pictures] = found
    rows = np.linspace(0, pictures.count - 1, min(pictures.count, _SAMPLE)).astype(int).tolist()
    for _ in pictures.decoded(rows):
        pass
    return sizes, True


def usual_size(sizes: Sequence[Size]) -> Size | None:
    """The default size of pictures: their own if all have the same, up to 256 pixels, else a square.

    None if there are none, so that the reader reports what is wrong.
    """
    if not sizes or (len(set(sizes)) == 1 and max(sizes[0]) <= _LARGEST):
        return sizes[0] if sizes else None
    side = SMALL if max(medians(sizes)) <= _SMALLEST else MEDIUM
    return side, side


def medians(sizes: Sequence[Size]) -> Size:
    """The median height and the median width, in whole pixels; 0, 0 if there are none."""
    if not sizes:
        return 0, 0
    height, width = np.median(np.array(sizes), axis=0)
    return int(height), int(width)


def scale_arrays(images: np.ndarray, size: Size, geometry: Geometry, where: str) -> np.ndarray:
    """Resize uint8 [N, C, h, w] to [N, C, height, width] like pictures; the same array if it has the size.

    Raises DataError for values other than uint8, or other than 1 or 3 channels.
    """
    count, channels, *here = images.shape
    if tuple(here) == size:
        return images
    if images.dtype != np.uint8 or channels not in (1, 3):
        raise DataError(
            f"{where}: cannot resize {images.dtype} images of {channels} channels to {_x(size)}; only uint8 of 1 or 3"
        )
    scaled = spill.empty((count, channels, *size), np.uint8)
    for image, out in zip(images, scaled, strict=True):
        out[:] = array_to_input(image.transpose(1, 2, 0), channels, size, geometry).transpose(2, 0, 1)
    return scaled


def _size_of(shape: tuple[int, ...]) -> Size:
    """The size of an array image [h, w], [c, h, w] or [h, w, c]."""
    if len(shape) == 3:
        shape = shape[1:] if shape[0] in (1, 3, 4) else shape[:2]
    return (shape[0], shape[1]) if len(shape) == 2 else (0, 0)


def _span(sizes: Set[Size]) -> tuple[Size, Size]:
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return by_area[0], by_area[-1]


def _x(size: Size) -> str:
    return f"{size[1]}x{size[0]}"  # width by height, as is usual for pictures
