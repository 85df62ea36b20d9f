"""Read tar archives that nobody vouches for, packed or not: nothing is extracted, so no path in them is followed."""

import importlib
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from clf_runtime.bounded import InPieces, open_regular
from clf_runtime.errors import ImageError

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "lzma"}
_PIECE_BYTES = 1 << 16


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar archive, or is packed and damaged there, which `read_members` says."""
    try:
        with _unpacked(path) as stream:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    except Exception:  # EOFError, zlib.error, ..., ImportError of what this Python was built without
        return True
    return True


def read_members(path: Path, known: Collection[str], wanted: Collection[str], most: int) -> dict[str, bytes]:
    """Read in one pass: for the last part of the path of each file that is `known`, its bytes if `wanted`, else b"".

    Raises ImageError if the archive is damaged, a known file is there twice, or is larger than `most` bytes.
    """
    members: dict[str, bytes] = {}
    try:
        with _unpacked(path) as file, tarfile.open(fileobj=InPieces(file), mode="r:") as archive:
            for info in archive:
                if info.size < 0:  # Python before 3.11.14 would come back to it for ever (CVE-2025-8194)
                    raise ImageError(f"{path}: damaged: a member of {info.size} bytes")
                name = PurePosixPath(info.name).name
                if not info.isfile() or name not in known:
                    continue
                if name in members or info.size > most:
                    raise ImageError(f"{path}: {name} is there twice, or larger than {most:,} bytes")
                stream = archive.extractfile(info)
                assert stream is not None
                members[name] = b"".join(_pieces(stream)) if name in wanted else b""
            while archive.fileobj is not None and archive.fileobj.read(_PIECE_BYTES):
                pass  # up to the end, where gzip, bzip2 and xz check their checksums
    except (ImageError, OSError, MemoryError):
        raise
    except Exception as error:  # TarError, EOFError, ValueError, zlib.error, LZMAError, ...
        raise ImageError(f"{path}: damaged or cut short: {error}") from None
    return members


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE_BYTES):
        yield piece


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if they are packed."""
    with open_regular(path) as file:
        start = file.read(max(map(len, _PACKED)))
        file.seek(0)
        module = next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)
        yield importlib.import_module(module).open(file) if module else file
