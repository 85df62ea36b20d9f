"""A file of the cache: pixels and a record, written during a reading, verified when opened, with a limit on all.

A line that identifies the format, the pixels, a record in JSON, its length, and the SHA-256 of all that precedes.
"""

import errno
import hashlib
import json
import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from clf_train.files import whole_file

SUFFIX = ".pictures"
START = b"clf-edge: decoded pictures, 1\n"
MOST_BYTES = 20 << 30  # of all entries, or half of what would be free without them, if less
_HELD_BYTES = 64 << 20  # of pixels before the file is created
_DIGEST_BYTES, _LENGTH_BYTES, _PIECE_BYTES = 32, 8, 1 << 20


def read_record(stream: IO[bytes], count: int, image_bytes: int) -> dict[str, Any]:
    """The record of an intact entry of `count` pictures of `image_bytes` each, without pixels where they are broken.

    Raises ValueError if it is damaged, or not of these pictures; OSError as the system does.
    """
    size = os.fstat(stream.fileno()).st_size
    left, digest = size - _DIGEST_BYTES, hashlib.sha256()
    while left > 0 and (piece := stream.read(min(left, _PIECE_BYTES))):
        digest.update(piece)
        left -= len(piece)
    if left or stream.read() != digest.digest():
        raise ValueError("damaged")
    stream.seek(size - _DIGEST_BYTES - _LENGTH_BYTES)
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    stream.seek(size - _DIGEST_BYTES - _LENGTH_BYTES - length)
    record: Any = json.loads(stream.read(length))
    pixels = size - len(START) - length - _LENGTH_BYTES - _DIGEST_BYTES
    if not _is_record(record, count) or pixels != (count - len(record["broken"])) * image_bytes:
        raise ValueError("not of these pictures")
    found: dict[str, Any] = record
    return found


def _is_record(record: Any, count: int) -> bool:
    """Whether it has the sizes, and messages by the numbers of pictures: another program may write entries too."""
    if not isinstance(record, dict) or record.keys() != {"sizes", "moving", "broken"}:
        return False
    numbers = {str(i) for i in range(count)} if record["moving"] or record["broken"] else set()
    return (
        isinstance(record["sizes"], list)
        and all(isinstance(size, list) and [type(side) for side in size] == [int, int] for size in record["sizes"])
        and all(isinstance(texts, dict) and texts.keys() <= numbers for texts in (record["moving"], record["broken"]))
        and all(isinstance(text, str) for key in ("moving", "broken") for text in record[key].values())
    )


class EntryWriter:
    """An entry being written: buffered until its file is created, and dropped silently if the disk has no room."""

    def __init__(self, file: Path, size: int) -> None:
        """Nothing is written yet; `size` is the maximum number of bytes of pixels."""
        self._file, self._size = file, size
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._digest = hashlib.sha256()
        self._whole = ExitStack()
        self._stream: IO[bytes] | None = None
        self._is_over = False

    def add(self, pixels: np.ndarray, *, is_worth: bool) -> None:
        """Add the pixels of the next picture; the file is created if it `is_worth` it, or if the buffer is large."""
        if self._is_over:
            return
        self._held.append(pixels.tobytes())
        self._held_bytes += len(self._held[-1])
        if is_worth or self._held_bytes > _HELD_BYTES:
            try:
                self._write()
            except OSError:
                self.drop()

    def finish(self, record: dict[str, object]) -> None:
        """Complete and name the file, if it was created. Raises OSError as the system does."""
        if self._stream is None or self._is_over:
            return
        text = json.dumps(record).encode()
        self._held += [text, len(text).to_bytes(_LENGTH_BYTES, "little")]
        self._write()
        self._stream.write(self._digest.digest())
        self._stream.close()
        self._whole.close()

    def drop(self) -> None:
        """Remove it, unless it is complete."""
        self._is_over = True
        self._held.clear()
        with suppress(OSError):
            if self._stream is not None:
                self._stream.close()
        self._whole.__exit__(OSError, OSError(), None)

    def _write(self) -> None:
        if self._stream is None:
            _make_room(self._file.parent, self._size)
            self._stream = self._whole.enter_context(whole_file(self._file)).open("wb")
            self._held.insert(0, START)
        for data in self._held:
            self._digest.update(data)
            self._stream.write(data)
        self._held.clear()
        self._held_bytes = 0


def _make_room(place: Path, size: int) -> None:
    """Remove the least recently used entries, so that `size` bytes fit. Raises OSError if they do not."""
    place.mkdir(parents=True, exist_ok=True)
    own = (entry for entry in place.iterdir() if entry.suffix in (SUFFIX, ".partial"))  # nobody else's files
    entries = sorted(((entry, entry.lstat()) for entry in own), key=lambda each: each[1].st_mtime)
    used = sum(status.st_size for _, status in entries)
    most = min(MOST_BYTES, (shutil.disk_usage(place).free + used) // 2)
    if size > most:
        raise OSError(errno.ENOSPC, "no room")
    for entry, status in entries:
        if used + size <= most:
            break
        entry.unlink(missing_ok=True)
        used -= status.st_size
