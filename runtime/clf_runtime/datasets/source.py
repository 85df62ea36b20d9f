"""What every reader of labelled images gives."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clf_runtime.errors import ImageError

_FEW = 10


@dataclass(frozen=True)
class Block:
    """Some images in a row: as they were read, [n, ...], their labels, int64 [n], and what to call each in words."""

    images: np.ndarray
    labels: np.ndarray
    places: Sequence[str]


@dataclass(frozen=True)
class Source:
    """Labelled images on the disk, looked at but not yet read.

    `images` is how many there are, `names` are its classes if it names them, by which its labels count; `is_test_part`
    tells whether it is known for one, and not perhaps a whole source of which some images were trained on, and
    `by_folder` whether a label is a folder's name. `labels()` reads all labels, int64 [N], without the images;
    `blocks(size, keep)` yields all images, or those where `keep`, bool [N], is true, `size` at a time. Both raise
    ImageError for what is damaged.
    """

    layout: str
    where: str
    images: int
    names: tuple[str, ...] | None
    is_test_part: bool
    labels: Callable[[], np.ndarray]
    blocks: Callable[[int, np.ndarray | None], Iterator[Block]]
    by_folder: bool = False


def recut(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """The same images in blocks of `size`, the last one perhaps of fewer; of none if there are none."""
    held: list[Block] = []
    for block in blocks:
        held.append(block)
        while sum(len(block.labels) for block in held) >= size:
            whole = _joined(held)
            yield _part(whole, slice(size))
            held = [_part(whole, slice(size, None))]
    if any(len(block.labels) for block in held):
        yield _joined(held)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    images, labels = (np.concatenate([getattr(b, name) for b in blocks]) for name in ("images", "labels"))
    return Block(images, labels, [place for b in blocks for place in b.places])


def _part(block: Block, rows: slice) -> Block:
    return Block(block.images[rows], block.labels[rows], block.places[rows])


def as_labels(values: np.ndarray, first: int, where: str) -> np.ndarray:
    """Whole numbers from 0 up as int64 [n]; `first` is the place of values[0]. Raises ImageError for all else."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "iufb":
        raise ImageError(
            f"{where}: labels are {values.dtype} of shape {values.shape}; wanted: one whole number an image"
        )
    with np.errstate(invalid="ignore"):  # NaN and infinity become some number, and then differ from it
        whole: np.ndarray = values.astype(np.int64)
    wrong = (whole != values) | (whole < 0)
    if wrong.any():
        i = int(wrong.argmax())
        raise ImageError(f"{where}: label {first + i} is {values[i]}; labels are whole numbers from 0 up")
    return whole


def place_names(names: Sequence[str], classes: Sequence[str]) -> tuple[np.ndarray | None, str | None]:
    """Where each name stands among the classes of a model, int64, or None and the first name that is none of them."""
    place = {name: i for i, name in enumerate(classes)}
    missing = next((name for name in names if name not in place), None)
    return (np.array([place[name] for name in names], np.int64), None) if missing is None else (None, missing)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names are "0" to "n-1", as they are where nobody gave any."""
    return all(name == str(i) for i, name in enumerate(names))


def match_names(source: Source, classes: Sequence[str]) -> tuple[np.ndarray | None, str | None]:
    """For each class of the data the model's, int64, by name, or None where labels count as they are; and a remark.

    Where data comes with numbers, and other names than the model's stand for as many classes in the same places, the
    numbers count. Raises ImageError that names the class which the model does not know.
    """
    names = source.names
    if names is None:
        return None, None
    places, missing = place_names(names, classes)
    if places is not None:
        return places, None
    known = set(classes)
    in_place = all(name not in known or classes[i] == name for i, name in enumerate(names[: len(classes)]))
    if len(names) == len(classes) and (are_numbers(classes) if source.by_folder else in_place):
        return None, f"the model has other class names ({missing!r} is none of them): labels are taken by their order"
    few = ", ".join(classes[:_FEW]) + ", ..." * (len(classes) > _FEW)
    raise ImageError(f"{source.where}: {missing!r} is no class of the model, which knows {few}")
