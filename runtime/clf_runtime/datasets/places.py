"""The files of a layout: paths on disk, or places in an archive, with the same interface."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol, Self, runtime_checkable

from clf_runtime.bounded import open_regular, read_bounded
from clf_runtime.errors import ImageError

Content = bytes | ImageError | None
"""The bytes of a file, an error that concerns only this file, or None if it exceeds the limit."""


class Place(Protocol):
    """A file or folder: the subset of `pathlib.Path` that is used."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        ...

    @property
    def stem(self) -> str:
        """The name without its extension."""
        ...

    @property
    def suffix(self) -> str:
        """The extension of the name, with its dot."""
        ...

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        ...

    def is_file(self) -> bool:
        """Whether it is a file."""
        ...

    def iterdir(self) -> Iterator[Self]:
        """The entries of a folder, in any order."""
        ...

    def __truediv__(self, name: str, /) -> Self:
        """The place `name` in a folder, which may not exist."""
        ...


@runtime_checkable
class Archived(Protocol):
    """A place in an archive."""

    @property
    def file(self) -> Path:
        """The archive."""
        ...

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Open a file for reading. Raises ImageError if it is damaged."""
        ...

    def read_all(self, places: "Sequence[Archived]", most: int) -> "Iterator[Content]":
        """The bytes of several files of the same archive."""
        ...


def open_place(place: Place) -> AbstractContextManager[IO[bytes]]:
    """Open a regular file for reading. Raises OSError if it cannot be opened, ImageError if it is damaged."""
    if isinstance(place, Path):
        return open_regular(place)
    assert isinstance(place, Archived)
    return place.open()


def files_of(places: Sequence[Place]) -> list[Path]:
    """The files on disk that contain the places, which are all on disk or all in one archive."""
    if not places or isinstance(places[0], Path):
        return [place for place in places if isinstance(place, Path)]
    assert isinstance(places[0], Archived)
    return [places[0].file]


def read_places(places: Sequence[Place], most: int) -> Iterator[Content]:
    """Read files, all on disk or all in one archive, in this order.

    Raises OSError if one cannot be opened, ImageError if the archive is damaged.
    """
    if places and not isinstance(places[0], Path):
        assert isinstance(places[0], Archived)
        yield from places[0].read_all(places, most)  # type: ignore[arg-type]
        return
    for place in places:
        assert isinstance(place, Path)
        yield read_bounded(place, most)
