"""The plan: the source divided into partitions, the unit of work, each with a file of results of its own.

A partition is consecutive files, up to a number and up to SPLIT_BYTES; a larger .parquet, or .tar that is not
compressed, is divided into equal splits, as Hadoop divides its input. It depends on names, sizes and times alone, so
that no file is opened to make it, and the same source gives the same plan.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from clf_runtime.scoring.source import PARQUET
from clf_runtime.scoring.storage import File, is_remote, read_range, written_whole

SPLIT_BYTES = 256 << 20
_SPLITTABLE = (*PARQUET, ".tar")


@dataclass(frozen=True)
class Partition:
    """Files to score, or the split `split` of `of` equal ones of a single file."""

    files: tuple[File, ...]
    split: int = 0
    of: int = 1


@dataclass(frozen=True)
class Entry:
    """A partition in the plan: its number, and where its line is."""

    number: int
    offset: int
    length: int


@dataclass(frozen=True)
class Extent:
    """The size of a plan: its partitions, files and bytes; and its SHA-256."""

    partitions: int
    files: int
    bytes: int
    sha256: str


def divide(files: Iterator[File], most: int) -> Iterator[Partition]:
    """Divide files into partitions of up to `most` files."""
    group: list[File] = []
    held = 0
    for file in files:
        splits = -(-file.size // SPLIT_BYTES)
        is_large = splits > 1 and file.path.lower().endswith(_SPLITTABLE) and not is_remote(file.path)
        if group and (is_large or len(group) >= most or held + file.size > SPLIT_BYTES):
            yield Partition(tuple(group))
            group, held = [], 0
        if is_large:
            yield from (Partition((file,), split, splits) for split in range(splits))
        else:
            group.append(file)
            held += file.size
    if group:
        yield Partition(tuple(group))


def measure(partitions: Iterator[Partition]) -> Extent:
    """The extent that the plan of these partitions has, without writing it."""
    extent = Extent(0, 0, 0, "")
    for _, so_far in _lines(partitions):
        extent = so_far
    return extent


def write(partitions: Iterator[Partition], path: str) -> Extent:
    """Write a plan. Raises OSError."""
    extent = Extent(0, 0, 0, "")
    with written_whole(path) as partial, partial.open("wb") as stream:
        for line, so_far in _lines(partitions):
            stream.write(line)
            extent = so_far
    return extent


def _lines(partitions: Iterator[Partition]) -> Iterator[tuple[bytes, Extent]]:
    """The line of each partition, and the extent up to it."""
    hashed, files, size = hashlib.sha256(), 0, 0
    for number, each in enumerate(partitions):
        line = json.dumps([each.split, each.of, each.files], separators=(",", ":")).encode() + b"\n"
        hashed.update(line)
        if each.split == 0:
            files += len(each.files)
            size += sum(file.size for file in each.files)
        yield line, Extent(number + 1, files, size, hashed.hexdigest())


def entries_of(lines: Iterator[bytes]) -> Iterator[Entry]:
    """The entries of the lines of a plan."""
    offset = 0
    for number, line in enumerate(lines):
        yield Entry(number, offset, len(line))
        offset += len(line)


def read(path: str, entry: Entry) -> Partition:
    """Read a partition from the plan. Raises OSError."""
    split, of, files = json.loads(read_range(path, entry.offset, entry.length))
    return Partition(tuple(File(*file) for file in files), split, of)
