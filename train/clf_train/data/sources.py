"""Sources: what `--data` accepts, read into one Dataset.

Layouts are the runtime's (`clf_runtime.datasets`), which a device reads too. Training adds what needs more than a
device has: the word `cifar10`, which is downloaded, tensors that only PyTorch reads, and whole arrays, mapped if large.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from clf_runtime.datasets import layouts
from clf_runtime.datasets.class_names import names_beside, read_names
from clf_runtime.datasets.order import as_people_count
from clf_runtime.datasets.source import Memory, Reading, Watch, load
from clf_runtime.datasets.source import Part as OnDisk
from clf_runtime.engine.threads import usable_threads
from clf_runtime.errors import ClfError
from clf_runtime.model.geometry import USUAL, Geometry
from clf_train.data import cifar10, legacy_tensors, scaling, spill
from clf_train.data.array_checks import as_images, check_names
from clf_train.data.assembly import assemble
from clf_train.data.dataset import Dataset, Part, Parts
from clf_train.data.picture_cache import keeping
from clf_train.errors import DataError

WORDS = (*layouts.WORDS, cifar10.WORD)


def read_source(
    source: str | Path,
    names: str | Sequence[str] | None = None,
    *,
    size: tuple[int, int] | None = None,
    geometry: Geometry = USUAL,
    skip_bad: bool = False,
    as_before: bool = False,
    watch: Callable[[str], object] = lambda text: None,
    undivided: bool = False,
    none_is_class: bool = False,
    outliers: bool = False,
) -> Dataset:
    """Read a source of labelled images: a folder or file in any known layout, or the word `digits` or `cifar10`.

    The words take precedence over folders of these names, which are `./digits` and `./cifar10`. `names` are class names
    that replace the source's: a sequence, a text file with one per line, or a comma-separated string. Without them the
    source's own names are used, then a `names.txt` in the folder, then "0" to "n-1".
    Pictures, and arrays of uint8, are resized to (height, width) `size` as `geometry` says; without a `size` they keep
    theirs, or, if it is not the same for all, get the one that `scaling.usual_size` chooses. With `skip_bad` pictures
    that cannot be decoded are skipped, and the notes say which. `as_before` reads like the first versions of clf-edge:
    class folders in alphabetical order, and no validation part. Pictures are decoded in as many threads as this process
    may use, and cached in the user's cache folder if that takes long (see picture_cache); `watch` is called with the
    progress, in words. `undivided` is for a training in folds: no fifth is held out of a source without a test part,
    and a validation part joins the training images. A folder `none` among class-named ones has examples of what is no
    class, which are read with `outliers`; with `none_is_class` it is a class.
    Raises DataError, in one line that names the file, if anything about the source is wrong.
    """
    path = _as_path(source)
    with _data_errors(path):
        named = _parse_names(names) if isinstance(names, str) else tuple(names) if names else None
        if isinstance(source, str) and source in WORDS:
            place: str | Path = cifar10.download() if source == cifar10.WORD else source
            parts = _read(place, size, geometry, skip_bad, as_before, watch, none_is_class, outliers)
            return assemble(source, parts, named, as_before, geometry, undivided)
        parts = _read(path, size, geometry, skip_bad, as_before, watch, none_is_class, outliers)
        if named is None and parts.names is None:
            named = names_beside(path)
        return assemble(os.path.realpath(path), parts, named, as_before, geometry, undivided)


def typical_size(source: str | Path) -> tuple[tuple[int, int], bool]:
    """The (height, width) of the images of a source, and whether they are pictures: then the medians of a sample.

    Raises DataError as `read_source` does.
    """
    path = _as_path(source)
    with _data_errors(path):
        is_word = isinstance(source, str) and source in WORDS
        if is_word or legacy_tensors.recognises(path):
            return (32, 32), False
        sizes, are_pictures = scaling.sample_sizes(path)
    return scaling.medians(sizes), are_pictures


def _as_path(source: str | Path) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError:  # an unknown home folder
        return Path(source)


@contextmanager
def _data_errors(path: Path) -> Iterator[None]:
    """Raise errors of reading, including the runtime's, as DataError."""
    try:
        yield
    except DataError:
        raise
    except ClfError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory") from None


def _read(
    source: str | Path,
    size: tuple[int, int] | None,
    geometry: Geometry,
    skip_bad: bool,
    as_before: bool,
    watch: Callable[[str], object],
    none_is_class: bool,
    outliers: bool,
) -> Parts:
    if isinstance(source, Path):
        if not os.path.exists(source):  # unlike Path.exists it never raises
            raise DataError(f"{source}: no such file or folder (the words are {' and '.join(WORDS)})")
        if legacy_tensors.recognises(source):
            parts = legacy_tensors.read(source)
            test = None if parts.test is None else _of_size(parts.test, size, geometry)
            return replace(parts, train=_of_size(parts.train, size, geometry), test=test)
        if size is None:
            sizes, are_pictures = scaling.sample_sizes(source)
            size = scaling.usual_size(sizes) if are_pictures else None
    decoder = scaling.Decoder(size, geometry)
    reading = Reading(
        decoder.decode,
        sorted if as_before else as_people_count,
        skip_bad,
        usable_threads(0),
        keeping(decoder),
        _told(watch, "searching for pictures that cannot be decoded: {}"),
        none_is_class,
    )
    looked = layouts.open_source(source, reading)
    if looked.train is None:
        raise DataError(f"{looked.where}: contains only a test part, no training images")
    # Examples of no class are looked at even if they are not wanted: what is wrong with their files is said, and what
    # is skipped of them recorded, before a training and not at the export after it.
    wanted = (looked.train, looked.validation if not as_before else None, looked.test, looked.outliers)
    opened = [part and part() for part in wanted]
    loaded = opened if outliers else [*opened[:3], None]
    train, validation, test, of_none = (_load(part, size, geometry, watch) if part else None for part in loaded)
    assert train is not None
    if not outliers and not skip_bad and (examples := opened[3]) is not None:
        _decode_all(examples, watch)
    notes = [note for part in opened if part for note in part.notes]
    skipped = [picture for part in opened if part for picture in part.skipped]
    notes = [*looked.notes, *notes, *decoder.notes()]
    return Parts(
        looked.layout, train, test, looked.names, tuple(notes), validation, tuple(skipped), looked.by_folder, of_none
    )


def _load(part: OnDisk, size: tuple[int, int] | None, geometry: Geometry, watch: Callable[[str], object]) -> Part:
    images = load(part, Memory(spill.empty, spill.SPILL_BYTES), _told(watch, "reading {}"))
    loaded = Part(images, part.labels(), part.where, part.place)
    return loaded if part.image_shape is None else _of_size(loaded, size, geometry)


def _decode_all(part: OnDisk, watch: Callable[[str], object]) -> None:
    """Raise ImageError, naming them all, if pictures cannot be decoded."""
    tell = _told(watch, "reading the examples of no class: {}")
    for done, _ in enumerate(part.blocks(1, None), 1):
        tell(done, part.count)


def _told(watch: Callable[[str], object], sentence: str) -> Watch:
    """Call `watch` with the number of pictures that have been read, of all, and the remaining time, in words."""
    start = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal start
        if done == 1:
            start = time.monotonic()
        left = (time.monotonic() - start) / done * (of - done)
        pictures = f"{done:,} of {of:,} pictures, {left // 60:.0f}:{left % 60:02.0f} left"
        watch(sentence.format(pictures))

    return tell


def _of_size(part: Part, size: tuple[int, int] | None, geometry: Geometry) -> Part:
    """The part, with arrays of another size resized."""
    return (
        part
        if size is None
        else replace(part, images=scaling.scale_arrays(as_images(part), size, geometry, part.where))
    )


def _parse_names(names: str) -> tuple[str, ...]:
    if os.path.isfile(names):  # unlike Path.is_file it accepts a string that is too long for a path
        return read_names(Path(names))
    if "," not in names:
        raise DataError(f"--names {names}: no such file; pass a file with one name per line, or comma-separated names")
    return check_names(names.split(","), "--names")
