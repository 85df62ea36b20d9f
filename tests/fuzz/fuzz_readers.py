"""Fuzz one reader of the runtime with atheris, by hand; pytest does not collect this file.

    python -m venv fuzz && fuzz/bin/pip install -e '.[cpu,images]' atheris onnx
    fuzz/bin/python tests/fuzz/fuzz_readers.py npy CORPUS -max_total_time=300 -rss_limit_mb=1536

The readers: npy, npz, records (a stream of .npy), paths (lines on standard input), png, jpeg, webp, bmp, gif, tiff, ppm
and heic (pictures), zip and tar (archives of pictures), csv (a column a pixel), card (metadata), tensor (a file of
torch.save), model (an .onnx file, opened and run). CORPUS is a folder that keeps what the fuzzer found
interesting; it is made, and begun with a few good files. All further arguments are libFuzzer's (-help=1 lists them). An
input that leads to anything but an answer or a one-line ClfError stops the run, and is written to a file `crash-...` in
the current folder.
"""

import contextlib
import io
import os
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(
    include=["clf_runtime", "zipfile", "numpy.lib.format", "numpy.lib._format_impl", "PIL"]
):
    from PIL import (  # noqa: F401 - what decode_picture loads
        BmpImagePlugin,
        GifImagePlugin,
        ImageOps,
        JpegImagePlugin,
        PngImagePlugin,
        PpmImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    from clf_runtime.classifier import Classifier
    from clf_runtime.datasets import layouts, torch_save
    from clf_runtime.datasets.source import Reading
    from clf_runtime.errors import ClfError
    from clf_runtime.inputs import npz, stream
    from clf_runtime.inputs.arrays import to_batch
    from clf_runtime.inputs.files import read_images
    from clf_runtime.inputs.pictures import Room, decode_picture, picture_size
    from clf_runtime.model import metadata
    from clf_runtime.model.card import ModelCard
    from clf_runtime.model.geometry import FITS, Geometry
    from clf_runtime.model.records import Golden
    from clf_runtime.pipeline import answer_stream

CARD = ModelCard("m", ("a", "b"), (3, 4, 5), "uint8", (0.0, 255.0))
IMAGE = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
FILE = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "input"


class Answering(Classifier):
    """A classifier that needs no model: it finds every image to be `a`."""

    def __init__(self) -> None:
        self.card, self.provider, self.sha256, self.notes = CARD, "none", "0" * 64, ()

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        if batch.dtype != np.uint8 or batch.shape[1:] != (3, 4, 5) or not batch.flags.c_contiguous:
            raise AssertionError(f"a model was to be given {batch.dtype} {batch.shape}")
        return np.tile(np.array([[0.75, 0.25]], np.float32), (len(batch), 1))


ANSWERING = Answering()


def read_file(data: bytes) -> None:
    FILE.write_bytes(data)
    for _, block in read_images(FILE, CARD):
        to_batch(block, CARD)


def read_npz(data: bytes) -> None:
    FILE.write_bytes(data)
    try:
        with npz.open_npz(FILE) as archive:
            for name in archive.names:
                archive.read(name, 1 << 20)
    finally:
        read_file(data)


def read_records(data: bytes) -> None:
    """Every answer of a stream is one of a whole record: of no byte of another, and in the order of the stream."""
    records, is_lost = stream.Records(io.BytesIO(data)), False
    while records.seek_start() if is_lost else records.more():
        is_lost = False
        try:
            for _, block in records.next(CARD, "x"):
                if b"\x93NUMPY" in block.tobytes():
                    raise AssertionError("a record swallowed another")
        except ClfError:
            is_lost = True
    for answer in answer_stream(ANSWERING, io.BytesIO(data)):
        one_line(answer.error)


def read_lines(data: bytes) -> None:
    for line in stream.read_paths(io.BytesIO(data)):
        if isinstance(line, str) and ("\n" in line or not line):
            raise AssertionError(f"no path: {line!r}")


def read_picture(data: bytes) -> None:
    for fit in FITS:
        pixels = decode_picture(data, "x", 3, (4, 5), Geometry(fit))
        if pixels.shape != (4, 5, 3) or pixels.dtype != np.uint8:
            raise AssertionError(f"a picture became {pixels.dtype} {pixels.shape}")
    picture_size(data, "x")


def decode_small(data: bytes, where: str, room: Room) -> np.ndarray:
    return decode_picture(data, where, 3, (4, 5), room=room)


def read_source(suffix: str) -> Callable[[bytes], None]:
    """A reader of labelled images in one file of this name."""
    file = FILE.with_name(f"set{suffix}")

    def read(data: bytes) -> None:
        file.write_bytes(data)
        source = layouts.open_source(file, Reading(decode_small))
        for opened in filter(None, (source.train, source.validation, source.test)):
            part = opened()
            part.labels()
            for block in part.blocks(2, None):
                if len(block) > 2:
                    raise AssertionError("a block of more images than were asked for")

    return read


def read_card(data: bytes) -> None:
    values = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        key, _, value = line.partition("=")
        values[metadata.PREFIX + key] = value
    card = metadata.from_metadata(values)
    if card is not None and metadata.from_metadata(metadata.to_metadata(card)) != card:
        raise AssertionError("a card that was read does not survive being written")


def read_model(data: bytes) -> None:
    classifier = Classifier(data, "x", device="cpu")
    shape = classifier.card.image_shape
    if np.prod(shape) < 1 << 16:
        classifier.predict(np.zeros(shape, np.uint8))


def read_tensor(data: bytes) -> None:
    FILE.write_bytes(data)
    for block in torch_save.rows(torch_save.look_into(FILE), 2):
        block.sum()


def one_line(error: Exception | None) -> None:
    if error is not None and (not isinstance(error, ClfError) or len(str(error)) > 5000):
        raise AssertionError(f"not one short line: {error!r}")


def seeds_of_npy() -> list[bytes]:
    made = []
    for array in (IMAGE, IMAGE.transpose(1, 2, 0), np.stack([IMAGE] * 3), np.asfortranarray(np.stack([IMAGE] * 3))):
        for dtype in ("u1", ">f8", "<i4"):
            file = io.BytesIO()
            np.save(file, array.astype(dtype))
            made.append(file.getvalue())
    return made


def seeds_of_npz() -> list[bytes]:
    made = []
    for save in (np.savez, np.savez_compressed):
        for arrays in ({"images": np.stack([IMAGE] * 3), "labels": np.arange(3)}, {"arr_0": IMAGE}):
            file = io.BytesIO()
            save(file, **arrays)
            made.append(file.getvalue())
    return made


def seeds_of_pictures(kind: str) -> list[bytes]:
    from PIL import Image

    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    made = []
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16"):
        for options in ({}, {"exif": exif}, {"save_all": True}):
            file = io.BytesIO()
            picture = Image.fromarray(np.repeat(np.repeat(IMAGE.transpose(1, 2, 0), 4, 0), 4, 1))
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not every format has every mode
                picture.convert(mode).save(file, kind, **options)
                made.append(file.getvalue())
    return made


def seeds_of_archives(pack: Callable[[dict[str, bytes]], bytes]) -> list[bytes]:
    picture = seeds_of_pictures("PNG")[0]
    folders = {f"{part}{name}/{i}.png": picture for part in ("train/", "test/") for name in "ab" for i in range(2)}
    listed = {"labels.csv": b"file,label\nx/1.png,a\nx/2.png,b\n", "x/1.png": picture, "x/2.png": picture}
    return [pack(folders), pack({n.removeprefix("train/"): data for n, data in folders.items()}), pack(listed)]


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def seeds_of_tables() -> list[bytes]:
    pixels = ",".join(f"pixel{i}" for i in range(4))
    return [f"label,{pixels}\n0,1,2,3,4\n1,4,3,2,1\n".encode(), b"1,2,3,4,0\n5,6,7,8,1\n", b"a;b\n"]


def seeds_of_cards() -> list[bytes]:
    golden = Golden(bytes(120), ((0.5, 0.5), (1.0, 0.0)), 1e-4, "CPUExecutionProvider", 1e-7)
    cards = (
        CARD,
        ModelCard("m", ("a", "b"), (3, 4, 5), "uint8", (0.0, 255.0), mean=(1, 2, 3), std=(1, 1, 1), golden=golden),
    )
    made = []
    for card in cards:
        own = {k: v for k, v in metadata.to_metadata(card).items() if k.startswith(metadata.PREFIX)}
        made.append("\n".join(f"{k.removeprefix(metadata.PREFIX)}={v}" for k, v in own.items()).encode())
    return made


def seeds_of_models() -> list[bytes]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Softmax", ["mean"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 3, 4, 5])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])
    axes = numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
    graph = helper.make_graph(nodes, "g", [image], [answer], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    bare = model.SerializeToString()
    onnx.helper.set_model_props(
        model, metadata.to_metadata(ModelCard("m", ("a", "b", "c"), (3, 4, 5), "uint8", (0.0, 255.0)))
    )
    return [bare, model.SerializeToString()]


def seeds_of_tensors() -> list[bytes]:
    storage = b"(X\x07\0\0\0storagectorch\nByteStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK<tQ"
    views = [b"K\0(K\x03K\x04K\x05t(K\x14K\x05K\x01t", b"K\x05(K\x04K\x02t(K\x05K\x02t"]  # offset, shape, strides
    made = []
    for view in views:
        file = io.BytesIO()
        tensor = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x/data.pkl", tensor + b"\x89ccollections\nOrderedDict\n)RtR.")
            archive.writestr("x/data/0", IMAGE.tobytes())
        made.append(file.getvalue())
    return made


PICTURES = ("PNG", "JPEG", "WebP", "BMP", "GIF", "TIFF", "PPM")
READERS = {
    "npy": (read_file, seeds_of_npy),
    "npz": (read_npz, seeds_of_npz),
    "records": (read_records, lambda: [*seeds_of_npy(), b"".join(seeds_of_npy())]),
    "paths": (read_lines, lambda: [b"a.npy\nb.npy\r\n\n\xff\n"]),
    **{kind.lower(): (read_picture, partial(seeds_of_pictures, kind)) for kind in PICTURES},
    "heic": (read_picture, partial(seeds_of_pictures, "HEIF")),
    "zip": (read_source(".zip"), partial(seeds_of_archives, zipped)),
    "tar": (read_source(".tar"), partial(seeds_of_archives, tarred)),
    "csv": (read_source(".csv"), seeds_of_tables),
    "card": (read_card, seeds_of_cards),
    "tensor": (read_tensor, seeds_of_tensors),
    "model": (read_model, seeds_of_models),
}


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in READERS:
        sys.exit(f"usage: fuzz_readers.py {'|'.join(READERS)} CORPUS [libFuzzer's options]")
    read, seeds = READERS[sys.argv.pop(1)]
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds()):
        (corpus / f"seed-{i}").write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            read(data)
        except ClfError as error:
            one_line(error)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    main()
