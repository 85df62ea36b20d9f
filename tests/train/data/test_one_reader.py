"""Every layout, read for training and for evaluation on a device: the same images, labels, names and held-out rows."""

import gzip
import io
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from clf_runtime import ModelCard
from clf_runtime.datasets import layouts, torch_save
from clf_runtime.datasets.labelled import Labelled, open_labelled
from clf_train import Dataset
from clf_train.data.sources import read_source

Write = Callable[[str, Path], Path]
IMAGES = np.random.default_rng(1).integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
LABELS = np.arange(30) % 3
KINDS = {"images": IMAGES, "labels": LABELS}


def save_npz(file: Path, first: str, second: str = "") -> Path:
    """Write images and labels under prefixes: all, or 20 and 10 of them."""
    parts = {first: slice(20), second: slice(20, None)} if second else {first: slice(None)}
    arrays = {f"{prefix}{kind}": array[rows] for prefix, rows in parts.items() for kind, array in KINDS.items()}
    np.savez_compressed(file, **arrays, names=np.array(["a", "b", "c"]))
    return file


def save_python_cifar(folder: Path) -> Path:
    folder.mkdir()
    for i, name in enumerate((*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")):
        rows = slice(5 * i, 5 * i + 5)
        batch = {b"data": IMAGES[rows].reshape(5, -1), b"labels": LABELS[rows].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a", b"b", b"c"]}, 2))
    return folder


def save_tensors(folder: Path, change: Callable[[torch.Tensor], torch.Tensor], has_test: bool = True) -> Path:
    folder.mkdir()
    for name, rows in (("train", slice(20)), ("test", slice(20, None))) if has_test else (("train", slice(None)),):
        torch.save(change(torch.from_numpy(IMAGES[rows])), folder / f"{name}_data_2")
        torch.save(torch.from_numpy(LABELS[rows]), folder / f"{name}_labels_2")
    return folder


def save_named(file: Path, *names: str) -> Path:
    """Write parts under their names: 10 images each, one-hot labels."""
    arrays = {}
    for i, pair in enumerate(names):
        images, labels = pair.split()
        arrays |= {images: IMAGES[10 * i : 10 * i + 10], labels: np.eye(3)[LABELS[10 * i : 10 * i + 10]]}
    np.savez_compressed(file, **arrays)
    return file


def save_idx(folder: Path) -> Path:
    folder.mkdir()
    for stem, rows in (("train", slice(20)), ("t10k", slice(20, None))):
        for kind, array in (("images-idx3", IMAGES[rows, 0]), ("labels-idx1", LABELS[rows])):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            data = head + array.astype(np.uint8).tobytes()
            (folder / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))
    return folder


def save_pictures(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, "PNG")
    return folder


def save_list(folder: Path, *lists: str) -> Path:
    for name in lists:
        paths = [f"{name[:-4]} {i}.png" for i in range(8)]
        save_pictures(folder, *paths)
        rows = [f"{path},{'ab'[i % 2]}" for i, path in enumerate(paths)]
        (folder / name).write_text("\n".join(["filename,label", *rows]))
    return folder


def save_pixels(folder: Path) -> Path:
    folder.mkdir()
    for name, rows in (("train.csv", slice(20)), ("test.csv", slice(20, None))):
        values = np.column_stack([LABELS[rows], IMAGES[rows, 0].reshape(len(LABELS[rows]), -1)])
        np.savetxt(folder / name, values, "%d", ",", header=",".join(["label", *map(str, range(1024))]), comments="")
    return folder


def save_torch(file: Path, made: Callable[..., object]) -> Path:
    x, y, t, u = (torch.from_numpy(a[rows]) for rows in (slice(20), slice(20, None)) for a in (IMAGES, LABELS))
    torch.save(made(x, y, t, u), file.with_suffix(".pt"))
    return file.with_suffix(".pt")


def pack(folder: Path, kind: str) -> Path:
    return Path(shutil.make_archive(str(folder), kind, folder))


def save_parquet(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    for part, rows in (("train", slice(20)), ("test", slice(20, None))):
        stream = [io.BytesIO() for _ in IMAGES[rows]]
        for each, image in zip(stream, IMAGES[rows], strict=True):
            Image.fromarray(image.transpose(1, 2, 0)).save(each, "PNG")
        pictures = [{"bytes": each.getvalue(), "path": None} for each in stream]
        table = pyarrow.table({"image": pictures, "label": [["x2", "x10", "x9"][n] for n in LABELS[rows]]})
        parquet.write_table(table, folder / "data" / f"{part}-00000-of-00001.parquet", row_group_size=7)
    return folder


MORE: dict[str, Callable[[Path], Path]] = {
    "npz with a test part": lambda p: save_npz(p.with_suffix(".npz"), "", "test_"),
    "npz with both parts by name": lambda p: save_npz(p.with_suffix(".npz"), "train_", "test_"),
    "npz without a test part": lambda p: save_npz(p.with_suffix(".npz"), ""),
    "cifar10 python": save_python_cifar,
    "float tensors": lambda p: save_tensors(p, lambda x: x / 255),
    "bfloat16 tensors": lambda p: save_tensors(p, lambda x: (x / 255).bfloat16()),
    "channels last tensors": lambda p: save_tensors(p, lambda x: x.permute(0, 2, 3, 1).contiguous()),
    "permuted tensors": lambda p: save_tensors(p, lambda x: x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)),
    "every other value of tensors": lambda p: save_tensors(p, lambda x: x.repeat_interleave(2, 3)[:, :, :, ::2]),
    "tensors without a test part": lambda p: save_tensors(p, lambda x: x, has_test=False),
    "Keras's npz": lambda p: save_named(p.with_suffix(".npz"), "x_train y_train", "x_test y_test"),
    "MedMNIST's npz": lambda p: save_named(
        p.with_suffix(".npz"), "train_images train_labels", "test_images test_labels", "val_images val_labels"
    ),
    "MNIST's idx": save_idx,
    "three parts": lambda p: save_pictures(
        p, *(f"{a}/{b}/{i}" for a in ("train", "val", "test") for b in "ab" for i in range(4))
    ),
    "a list": lambda p: save_list(p, "labels.csv"),
    "a list a part": lambda p: save_list(p, "train.csv", "val.csv", "test.csv"),
    "a table of pixels": save_pixels,
    "a pair of tensors": lambda p: save_torch(p, lambda x, y, t, u: (x, y)),
    "a dict of tensors": lambda p: save_torch(
        p, lambda x, y, t, u: {"images": x, "labels": y, "classes": ["a", "b", "c"]}
    ),
    "four tensors in a file": lambda p: save_torch(p, lambda x, y, t, u: (x, y, t, u)),
    "pairs by part": lambda p: save_torch(p, lambda x, y, t, u: {"train": (x, y), "val": (t, u), "test": [t, u]}),
    "a zip of three parts": lambda p: pack(
        save_pictures(p, *(f"{a}/{b}/{i}.png" for a in ("train", "val", "test") for b in "ab" for i in range(4))), "zip"
    ),
    "a tar.gz of class folders": lambda p: pack(
        save_pictures(p, *(f"{b}/{i}.png" for b in "abc" for i in range(6))), "gztar"
    ),
    "a tar of a list": lambda p: pack(save_list(p, "labels.csv"), "tar"),
    "parquet": save_parquet,
    "digits": lambda p: Path("digits"),
}
KNOWN = ("tensors", "npz file", "npz folder", "cifar10 folder", "cifar10 archive", "train and test folders")


def card_of(dataset: Dataset) -> ModelCard:
    shape, value_range = dataset.image_shape, dataset.value_range
    return ModelCard("m", dataset.names, shape, dataset.dtype, value_range, test_images=len(dataset.test))


def read_all(labelled: Labelled) -> tuple[np.ndarray, np.ndarray]:
    blocks = list(labelled.blocks())
    return np.concatenate([b.images for b in blocks]), np.concatenate([b.labels for b in blocks])


@pytest.mark.parametrize("kind", [*KNOWN, "class folders", *MORE])
def test_a_device_tests_on_the_images_that_training_has_kept_for_it(
    tmp_path: Path, write_source: Write, kind: str
) -> None:
    path = MORE[kind](tmp_path / "set") if kind in MORE else write_source(kind, tmp_path / "set")
    source = "digits" if kind == "digits" else str(path)
    dataset = read_source(source)
    labelled = open_labelled(source, card_of(dataset))
    images, labels = read_all(labelled)
    np.testing.assert_array_equal(images, dataset.test.images)
    np.testing.assert_array_equal(labels, dataset.test.labels)
    assert labelled.source.layout == dataset.layout
    held_out = any("there is no test part" in note for note in dataset.notes)
    assert labelled.part.startswith("the fifth" if held_out else "the test part")
    if labelled.source.names is not None:
        assert labelled.source.names == dataset.names
    assert labelled.notes == ()


@pytest.mark.parametrize("kind", [*KNOWN, "cifar10 python", "float tensors", "npz with a test part"])
def test_what_training_refuses_to_read_a_device_refuses_in_the_same_words(
    tmp_path: Path, write_source: Write, kind: str
) -> None:
    path = MORE[kind](tmp_path / "set") if kind in MORE else write_source(kind, tmp_path / "set")
    card = card_of(read_source(path))
    if path.is_dir():
        (path / "more.dat").write_bytes(b"")
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            np.savez(path, **arrays, more=np.zeros(3))
    else:
        path.write_bytes(path.read_bytes()[:-40])
    said = []
    for read in (read_source, lambda p: read_all(open_labelled(p, card))):
        with pytest.raises(ValueError, match=str(path.name)) as caught:
            read(path)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("as_before", [True, False])
def test_a_device_finds_what_was_held_out_whatever_order_the_classes_had_then(tmp_path: Path, as_before: bool) -> None:
    save_pictures(tmp_path, *(f"{name}/{i}.png" for name, n in (("1", 7), ("2", 9), ("10", 8)) for i in range(n)))
    dataset = read_source(tmp_path, as_before=as_before)
    assert dataset.names == (("1", "10", "2") if as_before else ("1", "2", "10"))
    labelled = open_labelled(tmp_path, card_of(dataset))
    assert labelled.part.startswith("the fifth")
    images, labels = read_all(labelled)
    np.testing.assert_array_equal(images, dataset.test.images)
    np.testing.assert_array_equal(labels, dataset.test.labels)


def test_names_beside_a_source_that_has_none_count_on_both_sides(tmp_path: Path) -> None:
    folder = save_tensors(tmp_path / "set", lambda x: x)
    (folder / "names.txt").write_text("a\nb\nc\n")
    dataset = read_source(folder)
    assert dataset.names == ("a", "b", "c")
    card = ModelCard("m", ("c", "b", "a"), (3, 32, 32), "uint8", (0.0, 255.0))
    np.testing.assert_array_equal(read_all(open_labelled(folder, card))[1], 2 - dataset.test.labels)


def test_each_layout_is_one_module_of_the_table() -> None:
    """A layout that is added is one module and one line."""
    for layout in layouts.LAYOUTS:
        assert callable(layout.recognises)
        assert callable(layout.look)


def test_a_tensor_is_read_without_torch_as_torch_reads_it(tmp_path: Path) -> None:
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int64, torch.float16, torch.float64):
        for value in (
            torch.arange(24).reshape(4, 3, 2),
            torch.arange(24).reshape(2, 3, 4).permute(2, 1, 0),
            torch.arange(3)[:0],
        ):
            file = tmp_path / "x"
            torch.save(value.to(dtype), file)
            tensor = torch_save.look_into(file)
            wanted = torch.load(file, weights_only=True).numpy()
            assert tensor.dtype == wanted.dtype
            blocks = [*torch_save.rows(tensor, 3), np.empty((0, *tensor.shape[1:]), wanted.dtype)]
            np.testing.assert_array_equal(np.concatenate(blocks), wanted)


def test_bytes_of_a_legacy_tensor_are_refused_on_a_device_with_what_to_do(tmp_path: Path) -> None:
    folder = save_tensors(tmp_path / "set", lambda x: x)
    stream = io.BytesIO()
    torch.save(torch.from_numpy(IMAGES), stream, _use_new_zipfile_serialization=False)
    (folder / "test_data_2").write_bytes(stream.getvalue())
    card = ModelCard("m", ("a", "b", "c"), (3, 32, 32), "uint8", (0.0, 255.0))
    with pytest.raises(ValueError, match=r"test_data_2: .*PyTorch before 1.6.*save it again with torch.save"):
        open_labelled(folder, card)
