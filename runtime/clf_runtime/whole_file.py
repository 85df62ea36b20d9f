"""Atomic writing of files: they appear complete under their name, or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clf_runtime.system import replace_file


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Give a temporary path to write to; when the block succeeds it is synced and renamed to `file`, else removed.

    Folders above it are made, and removed if it fails. Raises OSError as the system does, but naming `file` instead of
    the temporary path.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    with made_folder(file.parent):
        try:
            yield partial
            with partial.open("rb+") as stream:
                os.fsync(stream.fileno())
            replace_file(partial, file)
        except OSError as error:
            if error.filename in (None, str(partial), partial):  # none where a disk is full
                error.filename, error.filename2 = str(file), None
            raise
        finally:
            with suppress(OSError):  # where no file can be created, none can be removed
                partial.unlink(missing_ok=True)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it; if the block fails, those that are new and empty are removed.

    Raises OSError as the system does.
    """
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in new:
            with suppress(OSError):
                each.rmdir()
        raise


def refuse_place(path: Path) -> None:
    """Raise the OSError that creating `path`, and the folders above it, would raise, early, as far as possible."""
    path = path.absolute()
    with suppress(FileNotFoundError, NotADirectoryError):  # not of too long a name: exists() is then false, since 3.14
        path.lstat()
    parent = next(parent for parent in (*path.parents, path) if parent.exists())  # the root has no parents
    if not parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{parent} is a file, not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
