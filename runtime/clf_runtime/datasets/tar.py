"""Read untrusted tar archives, compressed or not: nothing is extracted, so no path in them is followed."""

import importlib
import math
import tarfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from clf_runtime.bounded import InPieces, open_regular
from clf_runtime.errors import ClfError, ImageError

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "lzma"}
_PIECE_BYTES = 1 << 16
_MOST_HEADER_BYTES = 1 << 20
_MOST_KEPT = 100  # entries; git archive has one


@dataclass(frozen=True)
class Member:
    """A member of an archive; `read(most)` returns its bytes, until the next one is requested.

    `offset` is the position of its header in the archive, decompressed.
    """

    name: str
    size: int
    offset: int
    is_file: bool
    is_dir: bool
    is_link: bool
    read: Callable[[int], bytes]


def is_tar(path: Path) -> bool:
    """Whether a file starts like a tar archive, or is compressed and damaged, which `each_member` reports."""
    try:
        with _unpacked(path) as stream:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    except Exception:  # EOFError, zlib.error, ..., ImportError of a module that this Python lacks
        return True
    return True


def each_member(path: Path) -> Iterator[Member]:
    """Yield all members in one pass, up to the end, where checksums are verified.

    Raises ImageError if the archive is damaged, or a member is shorter than it claims.
    """
    with (
        _naming(path),
        _unpacked(path) as file,
        tarfile.open(fileobj=(pieces := _Pieces(file)), mode="r:") as archive,
    ):
        while (info := pieces.next_of(archive)) is not None:
            archive.members = []  # type: ignore[attr-defined] # all would stay in memory
            if info.size < 0:  # Python before 3.11.14 would loop forever (CVE-2025-8194)
                raise ImageError(f"{path}: damaged: a member of {info.size} bytes")

            def read(most: int, info: tarfile.TarInfo = info) -> bytes:
                return _read(archive, info, most, path)

            is_link = info.issym() or info.islnk()
            yield Member(info.name, info.size, info.offset, info.isfile(), info.isdir(), is_link, read)
        if pieces.last.strip(b"\0") or 0 < len(pieces.last) < tarfile.BLOCKSIZE:  # which tarfile takes for the end
            raise ImageError(f"{path}: damaged or truncated: no header at byte {archive.offset:,}")
        while archive.fileobj is not None and archive.fileobj.read(_PIECE_BYTES):
            pass  # up to the end, where gzip, bzip2 and xz check their checksums


class _Pieces(InPieces):
    """InPieces that keep what was read last, and limit a header, which tarfile takes whole, in pieces too."""

    last = b""
    _left: float = _MOST_HEADER_BYTES  # also when the archive is opened, which reads its first header

    def next_of(self, archive: tarfile.TarFile) -> tarfile.TarInfo | None:
        """The next member of the archive that reads this. Raises ValueError if its header is too large."""
        self._left = _MOST_HEADER_BYTES
        info = archive.next()
        self._left = math.inf
        kept = archive.pax_headers  # those that hold for all members: tarfile keeps them, and copies them for each
        if len(kept) > _MOST_KEPT or sum(len(key) + len(value) for key, value in kept.items()) > _MOST_HEADER_BYTES:
            raise ValueError("headers for all members that exceed the limits")
        return info

    def read(self, size: int | None = -1) -> bytes:
        self.last = super().read(size)
        self._left -= len(self.last)
        if self._left < 0:
            raise ValueError(f"a header of more than {_MOST_HEADER_BYTES:,} bytes")
        return self.last


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what tarfile and the decompressors raise into an ImageError that names the archive."""
    try:
        yield
    except (ClfError, OSError, MemoryError):
        raise
    except Exception as error:  # TarError, EOFError, ValueError, zlib.error, LZMAError, ...
        raise ImageError(f"{path}: damaged or truncated: {error}") from None


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo, most: int, path: Path) -> bytes:
    if info.size > most:
        raise ImageError(f"{path}: {info.name} exceeds the limit of {most:,} bytes")
    with _naming(path):
        stream = archive.extractfile(info)
        assert stream is not None
        return b"".join(_pieces(stream))


def read_members(path: Path, known: Collection[str], wanted: Collection[str], most: int) -> dict[str, bytes]:
    """Read in one pass: for the last part of the path of each file that is `known`, its bytes if `wanted`, else b"".

    Raises ImageError if the archive is damaged, a known file is a duplicate, or exceeds `most` bytes.
    """
    members: dict[str, bytes] = {}
    for member in each_member(path):
        name = PurePosixPath(member.name).name
        if not member.is_file or name not in known:
            continue
        if name in members or member.size > most:
            raise ImageError(f"{path}: {name} is a duplicate, or exceeds the limit of {most:,} bytes")
        members[name] = member.read(most) if name in wanted else b""
    return members


def holds_any(path: Path, known: Collection[str]) -> bool:
    """Whether an archive contains a file with one of these names, or is damaged, which `each_member` reports."""
    try:
        return any(member.is_file and PurePosixPath(member.name).name in known for member in each_member(path))
    except (ImageError, OSError):
        return True


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE_BYTES):
        yield piece


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed if they are compressed."""
    with open_regular(path) as file:
        start = file.read(max(map(len, _PACKED)))
        file.seek(0)
        module = next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)
        yield importlib.import_module(module).open(file) if module else file
