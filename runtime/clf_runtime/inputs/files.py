"""Image files, `.npy`, `.npz` and pictures, whose format is detected from the first bytes; read in blocks."""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import IO

import numpy as np

from clf_runtime.bounded import as_path, open_regular, read_bounded
from clf_runtime.errors import ImageError
from clf_runtime.inputs.arrays import BLOCK, MAX_ARRAY_BYTES, MAX_BLOCK_BYTES, check_header, size_before
from clf_runtime.inputs.npy import read_data, read_header, read_rows
from clf_runtime.inputs.picture_formats import LOOK, NAMES, format_of
from clf_runtime.inputs.pictures import MAX_FILE_BYTES, Room, decode_picture
from clf_runtime.model.card import ModelCard
from clf_runtime.model.interface import in_colour


def read_images(
    path: str | os.PathLike[str],
    card: ModelCard,
    note: Callable[[str], object] = lambda text: None,
    room: Room = nullcontext,
) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yield a file's images as `to_batch` takes them: (None, one image), or (index of the first, block of a batch).

    The format is detected from the first bytes, not from the name. An `.npz` holds its images in the array `images`, or
    in its only array. `note` is called with a sentence on what else a picture contains, and `room` is asked for the
    memory that it takes. Raises ImageError if the file cannot be read or is neither a `.npy` or `.npz` of images for
    the model nor a picture, MissingExtraError if Pillow is needed and not installed.
    """
    where = as_path(path)
    try:
        with open_regular(where) as stream:
            start = stream.read(LOOK)
            stream.seek(0)
            if start.startswith(b"\x93NUMPY"):
                yield from _read_npy(stream, card, where)
            elif start.startswith(b"PK"):
                yield from _read_npz(stream, card, where)
            elif format_of(start) is not None:
                data = read_bounded(stream, MAX_FILE_BYTES)
                if data is None:
                    raise ImageError(f"{where}: exceeds the limit of {MAX_FILE_BYTES >> 20} MiB")
                yield None, picture_to_input(data, where, card, note, room)
            else:
                raise ImageError(f"{where}: neither a .npy or .npz array nor a picture ({NAMES})")
    except OSError as error:
        raise ImageError(f"{where}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{where}: cannot be read: {error}") from None  # a path with a NUL in it


def picture_to_input(
    data: bytes,
    where: str,
    card: ModelCard,
    note: Callable[[str], object] = lambda text: None,
    room: Room = nullcontext,
) -> np.ndarray:
    """Decode the bytes of a picture to the model's input size, uint8 [channels, height, width].

    For a model that takes photos, the picture keeps its size: uint8 [height, width, 3], upright.
    Raises what `decode_picture` does.
    """
    pixels = decode_picture(data, where, card.image_shape[0], size_before(card), card.picture_geometry, note, room)
    return in_colour(pixels) if card.input == "photo" else pixels.transpose(2, 0, 1)


def _read_npy(stream: IO[bytes], card: ModelCard, where: str) -> Iterator[tuple[int | None, np.ndarray]]:
    header = read_header(stream, where)
    is_batch = check_header(header, card, where)
    there = os.fstat(stream.fileno()).st_size - stream.tell()
    if there < header.data_bytes:
        raise ImageError(f"{where}: truncated: {header.data_bytes - there:,} bytes of the array are missing")
    if there > header.data_bytes:
        raise ImageError(f"{where}: damaged .npy: {there - header.data_bytes:,} bytes more than its header says")
    if is_batch and not header.fortran_order:
        yield from numbered(read_rows(stream, header, where, BLOCK, MAX_BLOCK_BYTES))
    else:
        yield from in_blocks(read_data(stream, header, where, MAX_ARRAY_BYTES), is_batch)


def _read_npz(stream: IO[bytes], card: ModelCard, where: str) -> Iterator[tuple[int | None, np.ndarray]]:
    from clf_runtime.inputs.npz import npz_in

    with npz_in(stream, where) as archive:
        if "images" not in archive.names and len(archive.names) != 1:
            there = ", ".join(name[:60] for name in archive.names[:5]) or "none"
            raise ImageError(f"{where}: contains neither an array images nor a single array (arrays: {there})")
        name = "images" if "images" in archive.names else archive.names[0]
        header = archive.peek(name)
        is_batch = check_header(header, card, where)
        if is_batch and not header.fortran_order:
            yield from numbered(archive.rows(name, BLOCK, MAX_BLOCK_BYTES))
        else:
            yield from in_blocks(archive.read(name, MAX_ARRAY_BYTES), is_batch)


def numbered(blocks: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each block with the index of its first image."""
    first = 0
    for block in blocks:
        yield first, block
        first += len(block)


def in_blocks(array: np.ndarray, is_batch: bool) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yield an array in memory: a single image as it is, a batch in blocks, so that what is derived stays small too."""
    if not is_batch:
        yield None, array
        return
    rows = max(1, min(BLOCK, MAX_BLOCK_BYTES * len(array) // array.nbytes))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]
