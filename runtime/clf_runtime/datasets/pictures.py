"""A part of pictures from any storage: decoded block by block, with one error that lists all broken ones."""

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
"""The bytes of the pictures with these indices, in ascending order, of at most `MAX_FILE_BYTES` each."""

_MAX_LISTED = 1500  # characters of names in an error; longer lists go into a file


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
    """A part of pictures that `fetch` reads from `files`, with labels [N]; `place(i)` names picture i in messages.

    With `reading.skip_bad` all are decoded once to find the broken ones, which are then skipped. Without it the blocks
    raise ImageError after all pictures have been decoded, with a list of the broken ones.
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
            raise ImageError(f"{where}: none of {count:,} pictures can be decoded: {first}")
    left = labels[good]
    return Part(
        where,
        len(good),
        None,
        lambda: left,
        functools.partial(_blocks, where, good, place, decoded),
        lambda i: place(int(good[i])),
        notes=(*notes, *((skipping(skipped),) if skipped else ())),
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
            held = []  # the rest is decoded only to list all broken ones
        elif not broken:
            held.append(picture)
            if len(held) == size:
                yield np.stack(held)
                held = []
    if broken:
        raise naming(where, broken)
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
            return ImageError(f"{place(i)}: exceeds the limit of {MAX_FILE_BYTES >> 20} MiB")
        try:
            return data if isinstance(data, ImageError) else reading.decode(data, place(i), room).transpose(2, 0, 1)
        except ImageError as error:
            return ImageError(str(error))  # without the traceback, which keeps the picture in memory

    return in_order(decode, zip(rows, fetch(rows), strict=True), reading.threads, _weight)


def _weight(fetched: tuple[int, Content]) -> int:
    _, data = fetched
    return len(data) if isinstance(data, bytes) else 0


def naming(where: str, broken: Sequence[tuple[str, ImageError]]) -> ImageError:
    """One error for all broken pictures."""
    go_on = "fix or remove {}, or pass --skip-bad to skip {}"
    if len(broken) == 1:
        return ImageError(f"{broken[0][1]}; {go_on.format('it', 'it')}")
    listed = list_names([name for name, _ in broken])
    return ImageError(
        f"{where}: {len(broken):,} pictures cannot be decoded: {listed} (the first: {broken[0][1]}); "
        + go_on.format("them", "them")
    )


def list_names(names: Sequence[str]) -> str:
    """A list of the names, or if it is long the temporary file that it was written to, one per line."""
    listed = ", ".join(names)
    if len(listed) > _MAX_LISTED:
        listed = f"listed in {file}" if (file := _write_list(names)) else f"{listed[:_MAX_LISTED]}, ..."
    return listed


def _write_list(names: Sequence[str]) -> str | None:
    """Write names to a new temporary file, one per line, and return its path; None if that fails."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="surrogateescape", prefix="broken-pictures-", suffix=".txt", delete=False
        ) as file:
            file.writelines(f"{name}\n" for name in names)
            return file.name
    except OSError:
        return None


def skipping(skipped: Sequence[str]) -> str:
    """A note about pictures that were skipped."""
    listed = ", ".join(skipped)
    if len(listed) > _MAX_LISTED:
        listed = f"{listed[:_MAX_LISTED]}, ..."
    return f"skipped, since it cannot be decoded: {len(skipped):,} picture{'s' * (len(skipped) > 1)} ({listed})"
