"""Decoded pictures in the user's cache folder: the next training on them, or their export, need not decode them.

An entry is one part of one source: the pixels of all pictures that can be decoded, in order, uint8 [3, height, width]
each, and a record of the errors of the others and of notes. Its name is a SHA-256 over all that the pixels depend on:
the pictures' files (paths, sizes and times), the size and geometry, and the code and libraries that decode. If an entry
is damaged, the pictures are decoded again.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from clf_runtime.datasets.source import Decoded, Pictures
from clf_runtime.errors import ImageError
from clf_runtime.inputs import geometry, picture_formats, pictures
from clf_runtime.model import geometry as model_geometry
from clf_train.data import scaling
from clf_train.data.cache_entry import START, SUFFIX, EntryWriter, read_record
from clf_train.data.scaling import Decoder, Met
from clf_train.errors import DataError

LEAST_SECONDS = 2.0  # faster readings are not cached
_PLACE = "\0"  # placeholder of the name of a picture in a message
_CODE = (pictures, picture_formats, geometry, model_geometry, scaling)
_LIBRARIES = ("jpg", "libjpeg_turbo", "zlib", "libtiff", "webp")


def folder() -> Path:
    """The folder of the entries."""
    from platformdirs import user_cache_path

    return Path(user_cache_path("clf-edge")) / "pictures"


def keeping(decoder: Decoder) -> Callable[[Pictures], Decoded]:
    """The value of `Reading.keep` with which pictures that `decoder` decodes are cached."""

    def keep(part: Pictures) -> Decoded:
        return part.decoded if decoder.size is None else partial(_decoded, part, decoder)

    return keep


def _decoded(part: Pictures, decoder: Decoder, rows: Sequence[int]) -> Iterator[np.ndarray | ImageError]:
    """The pictures of an entry if there is one; else decoded, and cached if all are requested."""
    try:
        name, changed = _identify(part, decoder)
        file = folder() / f"{name}{SUFFIX}"
    except OSError:  # a picture is missing, which the reader reports
        yield from part.decoded(rows)
        return
    if not file.is_absolute():  # a user without a home: it would be in the working directory
        yield from part.decoded(rows)
        return
    assert decoder.size is not None
    try:
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(file.open("rb"))
                record = read_record(stream, part.count, 3 * math.prod(decoder.size))
            except (OSError, ValueError):  # missing or damaged
                record = None
            if record is not None:
                with suppress(OSError):
                    os.utime(file)  # time of the last use
                yield from _kept(part, decoder, rows, stream, record)
                return
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None
    if len(rows) < part.count:
        yield from part.decoded(rows)
    else:
        yield from _keeping(part, decoder, file, changed)


def _identify(part: Pictures, decoder: Decoder) -> tuple[str, float]:
    """The name of a part's entry, and the latest modification of its files. Raises OSError if one is missing."""
    digest = hashlib.sha256(START)

    def add(*values: object) -> None:
        digest.update(json.dumps(values).encode())

    add(decoder.size, repr(decoder.geometry), part.count, *_decoding())
    real = lru_cache(maxsize=1000)(os.path.realpath)
    for i in range(part.count):
        above, name = os.path.split(part.place(i))
        add(real(above), name)
    changed, now = 0, time.time_ns()
    for file in part.files:
        status = os.stat(file)
        times = (status.st_mtime_ns, status.st_ctime_ns)
        add(status.st_size, *times)
        changed = max(changed, *(each for each in times if each <= now))
    return digest.hexdigest(), changed / 1e9


@lru_cache(maxsize=1)
def _decoding() -> tuple[object, ...]:
    """The versions of the decoders: hashes of our code, Pillow, its libraries, the HEIC plugin."""
    import PIL
    from PIL import features

    code = [hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest() for module in _CODE]
    heif = None
    with suppress(importlib.metadata.PackageNotFoundError):
        heif = importlib.metadata.version("pillow-heif")
    return *code, PIL.__version__, *(features.version(name) for name in _LIBRARIES), heif, platform.machine()


def _kept(
    part: Pictures, decoder: Decoder, rows: Sequence[int], stream: IO[bytes], record: dict[str, Any]
) -> Iterator[np.ndarray | ImageError]:
    """The pictures of an entry."""
    assert decoder.size is not None
    decoder.met.sizes.update((height, width) for height, width in record["sizes"])
    for i, text in record["moving"].items():
        place = part.place(int(i))
        decoder.met.moving[place] = text.replace(_PLACE, place)
    broken = {int(i): text for i, text in record["broken"].items()}
    before = np.cumsum([i in broken for i in range(part.count)])  # pictures without pixels before each
    shape = (3, *decoder.size)
    size = math.prod(shape)
    for i in rows:
        if i in broken:
            yield ImageError(broken[i].replace(_PLACE, part.place(i)))
            continue
        stream.seek(len(START) + (i - int(before[i])) * size)
        pixels = np.frombuffer(stream.read(size), np.uint8)
        if len(pixels) < size:
            raise OSError("truncated while it was read")
        yield pixels.reshape(shape)


def _keeping(part: Pictures, decoder: Decoder, file: Path, changed: float) -> Iterator[np.ndarray | ImageError]:
    """Decode all pictures, and cache them if that took long and their files were not modified."""
    assert decoder.size is not None
    before, decoder.met = decoder.met, Met()
    broken: dict[int, str] = {}
    started = time.monotonic()
    is_settled = changed < time.time() - LEAST_SECONDS  # else a file may be modified again without a change of its time
    writer = EntryWriter(file, part.count * 3 * math.prod(decoder.size))
    try:
        for i, picture in enumerate(part.decoded(range(part.count))):
            if isinstance(picture, ImageError):
                broken[i] = _without_place(str(picture), part.place(i))
            elif is_settled:
                writer.add(picture, is_worth=time.monotonic() - started >= LEAST_SECONDS)
            yield picture
        moving = decoder.met.moving
        numbers = [i for i in range(part.count) if part.place(i) in moving] if moving else []
        said = {i: _without_place(moving[part.place(i)], part.place(i)) for i in numbers}
        with suppress(OSError):
            if _identify(part, decoder)[0] == file.stem:  # no picture was modified in the meantime
                writer.finish({"sizes": sorted(decoder.met.sizes), "moving": said, "broken": broken})
    finally:
        writer.drop()
        decoder.met.add(before)


def _without_place(text: str, place: str) -> str:
    """A message without the path, which may differ the next time."""
    return text.replace(place, _PLACE)
