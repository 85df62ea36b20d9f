"""Files of this machine, or behind a URI such as s3://bucket/key: listed, read, and written whole.

A path without a scheme, or with file://, is local. Everything else is read with pyarrow's file systems: s3, gs, abfss,
hdfs (https://arrow.apache.org/docs/python/filesystems.html); see remote.py.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from clf_runtime.bounded import as_path, read_bounded
from clf_runtime.errors import ImageError
from clf_runtime.whole_file import whole_file

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


class File(NamedTuple):
    """A file as it was found: its absolute path or URI, its size in bytes, and its modification time in ns."""

    path: str
    size: int
    mtime_ns: int


def is_remote(path: str) -> bool:
    """Whether a path is a URI of another file system."""
    return _SCHEME.match(path) is not None


def place_of(path: str | os.PathLike[str]) -> str:
    """The absolute path, or the URI without a slash at its end. Raises ImageError if it is none."""
    text = as_path(path)
    if text.lower().startswith("file://"):
        text = text[len("file://") :] or "/"
    if not is_remote(text):
        return os.path.abspath(text)
    scheme, _, rest = text.partition("://")
    if not rest.strip("/"):
        raise ImageError(f"{text}: names no bucket or host; expected {scheme}://BUCKET/PATH")
    return f"{scheme}://{rest.rstrip('/')}"


def join(folder: str, name: str) -> str:
    """The place `name` in a folder; an absolute path or a URI stays as it is."""
    return name if is_remote(name) else f"{folder}/{name}" if is_remote(folder) else os.path.join(folder, name)


def status(path: str) -> File | None:
    """A file with its size and time; a folder has the size -1; None if there is neither."""
    if is_remote(path):
        from clf_runtime.scoring import remote

        return remote.status(path)
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return None
    return File(path, -1 if os.path.isdir(path) else found.st_size, found.st_mtime_ns)


def entries(folder: str) -> list[tuple[str, File | None]]:
    """The name of each entry of a folder, sorted, and its File; None for a folder, which is not one if it is a link.

    A link to a file is that file. Raises OSError if the folder cannot be read.
    """
    if is_remote(folder):
        from clf_runtime.scoring import remote

        return remote.entries(folder)
    found: list[tuple[str, File | None]] = []
    with os.scandir(folder) as there:
        for entry in there:
            if entry.is_dir(follow_symlinks=False):
                found.append((entry.name, None))
            elif entry.is_file():
                stat = entry.stat()
                found.append((entry.name, File(entry.path, stat.st_size, stat.st_mtime_ns)))
    return sorted(found, key=lambda each: each[0])


def read_file(path: str, most: int) -> bytes | None:
    """The bytes of a file; None if it has more than `most`. Raises OSError."""
    if is_remote(path):
        from clf_runtime.scoring import remote

        return remote.read_file(path, most)
    return read_bounded(path, most)


def read_range(path: str, offset: int, length: int) -> bytes:
    """A part of a file. Raises OSError."""
    if is_remote(path):
        from clf_runtime.scoring import remote

        return remote.read_range(path, offset, length)
    with open(path, "rb") as stream:
        stream.seek(offset)
        return stream.read(length)


@contextmanager
def as_local(path: str) -> Iterator[Path]:
    """A local file with the content of `path`: itself, or a copy that is removed afterwards. Raises OSError."""
    if is_remote(path):
        from clf_runtime.scoring import remote

        with remote.copied(path) as copy:
            yield copy
    else:
        yield Path(path)


@contextmanager
def written_whole(path: str) -> Iterator[Path]:
    """Give a local path to write to; when the block succeeds, `path` has its content, all at once. Raises OSError."""
    if is_remote(path):
        from clf_runtime.scoring import remote

        with remote.written_whole(path) as partial:
            yield partial
    else:
        with whole_file(Path(path)) as partial:
            yield partial


def unreadable(path: str, error: OSError) -> ImageError:
    """The error that says that a file or folder cannot be read."""
    said = os.strerror(errno.ENOENT) if isinstance(error, FileNotFoundError) else error.strerror or error
    return ImageError(f"{path}: cannot be read: {said}")
