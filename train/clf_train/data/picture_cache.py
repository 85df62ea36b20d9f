"""Decoded pictures, kept in the user's cache folder: the next training on them, or their export, need not decode them.

An entry is one part of one source: the pixels of all pictures that can be read, in order, uint8 [3, height, width]
each, and a record of what is wrong with the others and of what else was met. Its name is a SHA-256 over all that the
pixels depend on: the pictures' files (paths, sizes and times), the size and geometry, and the code and libraries that
decode. What is not as it was written is decoded anew.
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
from clf_train.data.cache_entry import START, EntryWriter, read_record
from clf_train.data.scaling import Decoder, Met
from clf_train.errors import DataError

LEAST_SECONDS = 2.0  # what is decoded in less is not kept
_PLACE = "\0"  # where a sentence names its picture
_CODE = (pictures, picture_formats, geometry, model_geometry, scaling)
_LIBRARIES = ("jpg", "libjpeg_turbo", "zlib", "libtiff", "webp")


def folder() -> Path:
    """Where the entries lie."""
    from platformdirs import user_cache_path

    return Path(user_cache_path("clf-edge")) / "pictures"


def keeping(decoder: Decoder) -> Callable[[Pictures], Decoded]:
    """What `Reading.keep` is to be, so that pictures that `decoder` decodes are kept."""

    def keep(part: Pictures) -> Decoded:
        return part.decoded if decoder.size is None else partial(_decoded, part, decoder)

    return keep


def _decoded(part: Pictures, decoder: Decoder, rows: Sequence[int]) -> Iterator[np.ndarray | ImageError]:
    """The pictures of an entry if there is one; else decoded, and kept if they are all."""
    try:
        name, changed = _identify(part, decoder)
        file = folder() / f"{name}.pictures"
    except OSError:  # a picture has gone, which the reader says in its own words
        yield from part.decoded(rows)
        return
    try:
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(file.open("rb"))
                record = read_record(stream)
            except (OSError, ValueError):  # there is none, or it is damaged
                record = None
            if record is not None:
                with suppress(OSError):
                    os.utime(file)  # of the last use
                yield from _kept(part, decoder, rows, stream, record)
                return
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None
    if len(rows) < part.count:
        yield from part.decoded(rows)
    else:
        yield from _keeping(part, decoder, file, changed)


def _identify(part: Pictures, decoder: Decoder) -> tuple[str, float]:
    """The name of a part's entry, and when one of its files was last changed. Raises OSError if one has gone."""
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
    """The versions of all that decodes: our code by its text, Pillow, its libraries, the plugin of HEIC."""
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
    """The pictures that an entry holds."""
    assert decoder.size is not None
    decoder.met.sizes.update((height, width) for height, width in record["sizes"])
    for i, text in record["moving"].items():
        place = part.place(int(i))
        decoder.met.moving[place] = text.replace(_PLACE, place)
    broken = {int(i): text for i, text in record["broken"].items()}
    before = np.cumsum([i in broken for i in range(part.count)])  # pictures that have no pixels, up to each
    shape = (3, *decoder.size)
    size = math.prod(shape)
    for i in rows:
        if i in broken:
            yield ImageError(broken[i].replace(_PLACE, part.place(i)))
            continue
        stream.seek(len(START) + (i - int(before[i])) * size)
        pixels = np.frombuffer(stream.read(size), np.uint8)
        if len(pixels) < size:
            raise OSError("cut short while it was read")
        yield pixels.reshape(shape)


def _keeping(part: Pictures, decoder: Decoder, file: Path, changed: float) -> Iterator[np.ndarray | ImageError]:
    """Decode all pictures, and keep them if that took its time and their files stayed as they are."""
    assert decoder.size is not None
    before, decoder.met = decoder.met, Met()
    broken: dict[int, str] = {}
    started = time.monotonic()
    is_settled = changed < time.time() - LEAST_SECONDS  # else a file may change once more, and show the same time
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
            if _identify(part, decoder)[0] == file.stem:  # no picture has changed meanwhile
                writer.finish({"sizes": sorted(decoder.met.sizes), "moving": said, "broken": broken})
    finally:
        writer.drop()
        decoder.met.add(before)


def _without_place(text: str, place: str) -> str:
    """A sentence without the path, by which the source may be given another time."""
    return text.replace(place, _PLACE)
