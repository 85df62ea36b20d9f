"""A part that is pictures, wherever their bytes lie: decoded block by block, and all that are broken named together."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from clf_runtime.datasets.places import Content, Place, read_places
from clf_runtime.datasets.source import Decode, Part, Reading
from clf_runtime.errors import ImageError
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

    return part_of_pictures(where, fetch, lambda i: str(files[i]), labels, reading, notes)


def part_of_pictures(
    where: str,
    fetch: Fetch,
    place: Callable[[int], str],
    labels: np.ndarray,
    reading: Reading,
    notes: tuple[str, ...] = (),
) -> Part:
    """A part of pictures that `fetch` gives, with labels [N]; `place(i)` is what to call picture i.

    With `reading.skip_bad` all are decoded once to find those that are broken, which are then left out. Without it the
    blocks raise ImageError, once all pictures have been looked at, that names each that is broken.
    """
    if not len(labels):
        raise ImageError(f"{where}: no pictures")
    good, skipped = np.arange(len(labels)), tuple[str, ...]()
    if reading.skip_bad:
        found = dict(_broken(good.tolist(), fetch, place, reading.decode))
        good = np.array([i for i in good.tolist() if i not in found], np.int64)
        skipped = tuple(place(i) for i in found)
        if not len(good):
            raise ImageError(f"{where}: none of {len(labels):,} pictures can be read: {next(iter(found.values()))}")
    left = labels[good]
    return Part(
        where,
        len(good),
        None,
        lambda: left,
        functools.partial(_blocks, where, good, fetch, place, reading.decode),
        lambda i: place(int(good[i])),
        notes=(*notes, *((_skipping(skipped),) if skipped else ())),
        skipped=skipped,
    )


def _blocks(
    where: str,
    good: np.ndarray,
    fetch: Fetch,
    place: Callable[[int], str],
    decode: Decode,
    size: int,
    keep: np.ndarray | None,
) -> Iterator[np.ndarray]:
    rows: list[int] = (good if keep is None else good[keep]).tolist()
    held: list[np.ndarray] = []
    fetched = fetch(rows)
    for n, i in enumerate(rows):
        try:
            held.append(_decode(next(fetched), place(i), decode))
        except ImageError as error:
            others = _broken(rows[n + 1 :], fetch, place, decode)
            raise _naming(where, [(place(i), error), *((place(j), e) for j, e in others)]) from None
        if len(held) == size or n == len(rows) - 1:
            yield np.stack(held)
            held = []


def _decode(data: Content, where: str, decode: Decode) -> np.ndarray:
    if data is None:
        raise ImageError(f"{where}: larger than {MAX_FILE_BYTES >> 20} MiB")
    if isinstance(data, ImageError):
        raise data
    return decode(data, where).transpose(2, 0, 1)


def _broken(
    rows: Sequence[int], fetch: Fetch, place: Callable[[int], str], decode: Decode
) -> Iterator[tuple[int, ImageError]]:
    for i, data in zip(rows, fetch(rows), strict=True):
        try:
            _decode(data, place(i), decode)
        except ImageError as error:
            yield i, error


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
