"""A part that is pictures, wherever their bytes lie: decoded block by block, and all that are broken named together."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from clf_runtime.datasets.places import Content, Place, files_of, read_places
from clf_runtime.datasets.source import Decoded, Part, Pictures, Reading
from clf_runtime.errors import ImageError
from clf_runtime.inputs.parallel import Room, in_order
from clf_runtime.inputs.pictures import MAX_FILE_BYTES

Fetch = Callable[[Sequence[int]], Iterator[Content]]
"""The bytes of the pictures of these numbers, in ascending order, of at most `MAX_FILE_BYTES` each."""

_MAX_LISTED = 1500  # characters of names in an error; more go into a file


def part_of_files(
    where: str, files: Sequence[Place], labels: np.ndarray, reading: Reading, notes: tuple[str, ...] = ()
) -> Part:
    """A part of pictures in files, with labels [N]; see `part_of_pictures`."""

    def fetch(rows: Sequence[int]) -> Iterator[Content]:
        return read_places([files[i] for i in rows], MAX_FILE_BYTES)

    return part_of_pictures(where, fetch, lambda i: str(files[i]), files_of(files), labels, reading, notes)


def part_of_pictures(
    where: str,
    fetch: Fetch,
    place: Callable[[int], str],
    files: Sequence[Path],
    labels: np.ndarray,
    reading: Reading,
    notes: tuple[str, ...] = (),
) -> Part:
    """A part of pictures that `fetch` gives out of `files`, with labels [N]; `place(i)` is what to call picture i.

    With `reading.skip_bad` all are decoded once to find those that are broken, which are then left out. Without it the
    blocks raise ImageError, once all pictures have been looked at, that names each that is broken.
    """
    count = len(labels)
    if not count:
        raise ImageError(f"{where}: no pictures")
    decoded = reading.keep(Pictures(count, files, place, functools.partial(_decoded, fetch, place, reading)))
    good, skipped = np.arange(count), tuple[str, ...]()
    if reading.skip_bad:
        first: ImageError | None = None
        is_good = np.ones(count, bool)
        for i, picture in enumerate(decoded(range(count))):
            if isinstance(picture, ImageError):
                is_good[i] = False
                first = first or picture
            reading.watch(i + 1, count)
        good = np.flatnonzero(is_good)
        skipped = tuple(place(i) for i in np.flatnonzero(~is_good).tolist())
        if not len(good):
            raise ImageError(f"{where}: none of {count:,} pictures can be read: {first}")
    left = labels[good]
    return Part(
        where,
        len(good),
        None,
        lambda: left,
        functools.partial(_blocks, where, good, place, decoded),
        lambda i: place(int(good[i])),
        notes=(*notes, *((_skipping(skipped),) if skipped else ())),
        skipped=skipped,
    )


def _blocks(
    where: str,
    good: np.ndarray,
    place: Callable[[int], str],
    decoded: Decoded,
    size: int,
    keep: np.ndarray | None,
) -> Iterator[np.ndarray]:
    rows: list[int] = (good if keep is None else good[keep]).tolist()
    held: list[np.ndarray] = []
    broken: list[tuple[str, ImageError]] = []
    for i, picture in zip(rows, decoded(rows), strict=True):
        if isinstance(picture, ImageError):
            broken.append((place(i), picture))
            held = []  # what is left is looked at, for an error that names all
        elif not broken:
            held.append(picture)
            if len(held) == size:
                yield np.stack(held)
                held = []
    if broken:
        raise _naming(where, broken)
    if held:
        yield np.stack(held)


def _decoded(
    fetch: Fetch, place: Callable[[int], str], reading: Reading, rows: Sequence[int]
) -> Iterator[np.ndarray | ImageError]:
    """Read and decode pictures; see Decoded."""
    room = Room(reading.threads)

    def decode(fetched: tuple[int, Content]) -> np.ndarray | ImageError:
        i, data = fetched
        if data is None:
            return ImageError(f"{place(i)}: larger than {MAX_FILE_BYTES >> 20} MiB")
        try:
            return data if isinstance(data, ImageError) else reading.decode(data, place(i), room).transpose(2, 0, 1)
        except ImageError as error:
            return ImageError(str(error))  # without the traceback, which holds the picture

    return in_order(decode, zip(rows, fetch(rows), strict=True), reading.threads, _weight)


def _weight(fetched: tuple[int, Content]) -> int:
    _, data = fetched
    return len(data) if isinstance(data, bytes) else 0


def _naming(where: str, broken: Sequence[tuple[str, ImageError]]) -> ImageError:
    """One error for all pictures that are broken."""
    go_on = "mend or remove {}, or go on without {} by --skip-bad"
    if len(broken) == 1:
        return ImageError(f"{broken[0][1]}; {go_on.format('it', 'it')}")
    listed = list_names([name for name, _ in broken])
    return ImageError(
        f"{where}: {len(broken):,} pictures cannot be read: {listed} (the first: {broken[0][1]}); "
        + go_on.format("them", "them")
    )


def list_names(names: Sequence[str]) -> str:
    """All names in words, or where there are many the temporary file that they were written to, one a line."""
    listed = ", ".join(names)
    if len(listed) > _MAX_LISTED:
        listed = f"listed in {file}" if (file := _write_list(names)) else f"{listed[:_MAX_LISTED]}, ..."
    return listed


def _write_list(names: Sequence[str]) -> str | None:
    """Write names into a new temporary file, one a line, and return its path; None if the system refuses it."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="surrogateescape", prefix="broken-pictures-", suffix=".txt", delete=False
        ) as file:
            file.writelines(f"{name}\n" for name in names)
            return file.name
    except OSError:
        return None


def _skipping(skipped: Sequence[str]) -> str:
    listed = ", ".join(skipped)
    if len(listed) > _MAX_LISTED:
        listed = f"{listed[:_MAX_LISTED]}, ..."
    return f"left out, since it cannot be read: {len(skipped):,} picture{'s' * (len(skipped) > 1)} ({listed})"
