"""Fuzz one reader of the runtime with atheris, by hand; pytest does not collect this file.

    python -m venv fuzz && fuzz/bin/pip install -e '.[cpu,images]' atheris onnx
    fuzz/bin/python tests/fuzz/fuzz_readers.py npy CORPUS -max_total_time=300 -rss_limit_mb=1536

The readers: npy, npz, records (a stream of .npy), paths (lines on standard input), picture, card (metadata), tensor (a
file of torch.save), model (an .onnx file, opened and run). CORPUS is a folder that keeps what the fuzzer found
interesting; it is made, and begun with a few good files. All further arguments are libFuzzer's (-help=1 lists them). An
input that leads to anything but an answer or a one-line ClfError stops the run, and is written to a file `crash-...` in
the current folder.
"""

import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(
    include=["clf_runtime", "zipfile", "numpy.lib.format", "numpy.lib._format_impl", "PIL"]
):
    from PIL import ImageOps, JpegImagePlugin, PngImagePlugin  # noqa: F401 - what decode_picture loads

    from clf_runtime.classifier import Classifier
    from clf_runtime.datasets import torch_save
    from clf_runtime.errors import ClfError
    from clf_runtime.inputs import npz, stream
    from clf_runtime.inputs.arrays import to_batch
    from clf_runtime.inputs.files import read_images
    from clf_runtime.inputs.pictures import decode_picture
    from clf_runtime.model import metadata
    from clf_runtime.model.card import Golden, ModelCard
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
        npz.read_members(FILE)
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
    decode_picture(data, "x", 3, (4, 5))


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


def seeds_of_pictures() -> list[bytes]:
    from PIL import Image

    made = []
    for kind, options in (("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})):
        for mode in ("RGB", "L", "RGBA", "P", "CMYK"):
            if (kind, mode) in {("PNG", "CMYK"), ("JPEG", "RGBA"), ("JPEG", "P")}:
                continue
            file = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(IMAGE.transpose(1, 2, 0)).convert(mode).save(file, kind, exif=exif, **options)
            made.append(file.getvalue())
    return made


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


READERS = {
    "npy": (read_file, seeds_of_npy),
    "npz": (read_npz, seeds_of_npz),
    "records": (read_records, lambda: [*seeds_of_npy(), b"".join(seeds_of_npy())]),
    "paths": (read_lines, lambda: [b"a.npy\nb.npy\r\n\n\xff\n"]),
    "picture": (read_picture, seeds_of_pictures),
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
