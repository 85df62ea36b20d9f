"""Zip archives that nobody vouches for: a bounded directory, and one kind of error."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from clf_runtime.bounded import InPieces
from clf_runtime.errors import ClfError, ImageError, brief

MAX_DIRECTORY_BYTES = 1 << 20  # about 20,000 members


def open_zip(stream: IO[bytes], most: int = MAX_DIRECTORY_BYTES) -> zipfile.ZipFile:
    """Open the archive in an untrusted file, whose directory has `most` bytes at most.

    Raises what zipfile does, ValueError for a larger directory: see zip_errors.
    """
    return zipfile.ZipFile(InPieces(stream, most))


@contextmanager
def zip_errors(where: str, kind: str) -> Iterator[None]:
    """Raise whatever zipfile and its decompressors raise as an ImageError that names `where` and the `kind` of file."""
    try:
        yield
    except (ClfError, MemoryError):
        raise
    except OSError as error:
        raise ImageError(f"{where}: cannot be read: {error.strerror or brief(error)}") from None
    except Exception as error:  # BadZipFile, zlib.error, RuntimeError, EOFError, UnicodeDecodeError, ...
        raise ImageError(f"{where}: not {kind}, or damaged: {brief(error, 120)}") from None
