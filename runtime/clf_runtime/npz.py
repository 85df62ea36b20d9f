"""`.npz` archives that nobody vouches for: headers are looked at before memory is taken, and no pickle is read."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from clf_runtime.errors import ClfError, ImageError, brief
from clf_runtime.npy import NpyHeader, read_header


@dataclass(frozen=True)
class Npz:
    """An open archive, and its members by the names of their arrays."""

    path: Path
    archive: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def demand(self, keys: Sequence[str]) -> None:
        """Raise ImageError if one of these arrays is not there."""
        for key in keys:
            if key not in self.members:
                there = ", ".join(sorted(self.members))[:200] or "nothing"
                raise ImageError(f"{self.path}: holds no array named {key} (it holds {there})")


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """Open an archive. Whatever zipfile and its decompressors raise while it is open becomes an ImageError.

    Errors of clf-edge, of the system, and want of memory stay what they are.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members: dict[str, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if key in members:
                    raise ImageError(f"{path}: holds {key} twice")
                members[key] = info
            yield Npz(path, archive, members)
    except (ClfError, OSError, MemoryError):
        raise
    except Exception as error:  # BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, UnicodeDecodeError, ...
        raise ImageError(f"{path}: not an .npz archive, or damaged: {brief(error)}") from None


@contextmanager
def open_member(npz: Npz, key: str) -> Iterator[tuple[IO[bytes], NpyHeader]]:
    """Open one array: a stream at the first byte of its data, and its header.

    Raises ImageError if the archive states another size of it than its header.
    """
    info = npz.members[key]
    where = f"{npz.path}, {info.filename}"
    with npz.archive.open(info) as stream:
        header = read_header(stream, where)
        if info.file_size != stream.tell() + header.data_bytes:
            claimed = f"{header.data_bytes:,} bytes"
            raise ImageError(f"{where}: damaged: its header claims {claimed}, the archive another size")
        yield stream, header


def as_texts(names: np.ndarray, path: Path) -> list[str]:
    """An array of names as texts. Raises ImageError if it holds no texts, or none that can be encoded."""
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise ImageError(f"{path}: names must be one text a class, not {names.dtype} of shape {names.shape}")
    try:
        texts = [n.decode() if isinstance(n, bytes) else n for n in names.tolist()]
        "".join(texts).encode()
    except (UnicodeError, ValueError, SystemError):  # numpy lets any number stand for a character
        raise ImageError(f"{path}: names must be text in UTF-8") from None
    return texts
