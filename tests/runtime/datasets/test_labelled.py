import contextlib
import gzip
import io
import os
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clf_runtime import ClfError, ImageError, ModelCard
from clf_runtime.datasets import cifar10
from clf_runtime.datasets.holdout import hold_out
from clf_runtime.datasets.labelled import TEST_BATCH, open_labelled
from clf_runtime.inputs.arrays import to_batch
from clf_runtime.inputs.pictures import decode_picture
from clf_runtime.model.geometry import USUAL
from clf_runtime.model.records import Parity

NAMES = ("red", "green", "blue")
CARD = ModelCard("tiny", NAMES, (3, 8, 8), "uint8", (0.0, 255.0))
CIFAR = ModelCard("tiny", NAMES, (3, 32, 32), "uint8", (0.0, 255.0))


def parity_over(count, card=CARD):
    parity = Parity(count, 0.0, 0.0, 1e-4, 0, 1.0, 1.0, (1.0,) * 3, 0, 0.0, "", "1.17")
    return ModelCard(card.model, card.names, card.image_shape, card.dtype, card.value_range, parity=parity)


def made(count, size=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3, size, size), np.uint8), rng.permutation(np.arange(count) % 3)


def read(path, card=CARD):
    labelled = open_labelled(path, card)
    blocks = list(labelled.blocks())
    assert sum(len(b.labels) for b in blocks) == labelled.images
    return np.concatenate([b.images for b in blocks]), np.concatenate([b.labels for b in blocks]), labelled


def save_cifar(folder, images, labels, name="test_batch.bin"):
    folder.mkdir(exist_ok=True)
    records = np.concatenate([labels.astype(np.uint8)[:, None], images.reshape(len(images), -1)], axis=1)
    (folder / name).write_bytes(records.tobytes())
    return folder


def save_folders(folder, counts, size=8):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.full((size, size, 3), 10 * i, np.uint8)
            pixels[:, :, NAMES.index(name) if name in NAMES else 0] = 200
            Image.fromarray(pixels).save(folder / name / f"{i:03}.png")
    return folder


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("prefix", ["", "test_"])
@pytest.mark.parametrize("hwc", [False, True])
def test_npz_comes_in_the_blocks_of_the_export(tmp_path, save, prefix, hwc):
    images, labels = made(1203)
    stored = images.transpose(0, 2, 3, 1) if hwc else images
    arrays = {f"{prefix}images": stored, f"{prefix}labels": labels.astype(np.float64)[:, None]}
    save(tmp_path / "x.npz", **arrays, **({"images": np.zeros(3), "labels": np.zeros(3)} if prefix else {}))
    got, got_labels, labelled = read(tmp_path / "x.npz", parity_over(1203))
    np.testing.assert_array_equal(got, images)
    np.testing.assert_array_equal(got_labels, labels)
    assert [len(b.labels) for b in labelled.blocks()] == [TEST_BATCH, TEST_BATCH, 203]
    assert labelled.notes == ()


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_of_another_size_are_resized_whichever_axis_has_their_channels(tmp_path, channels):
    card = replace(CARD, image_shape=(channels, 8, 8), geometry=USUAL)
    images, labels = made(30, size=20)
    images = images[:, :channels]
    stored = {"first": images, "last": images.transpose(0, 2, 3, 1)} | ({"none": images[:, 0]} if channels == 1 else {})
    for name, array in stored.items():
        np.savez(tmp_path / f"{name}.npz", images=array, labels=labels)
    found = [read(tmp_path / f"{name}.npz", card)[0] for name in stored]
    np.testing.assert_array_equal(found[0], to_batch(images.transpose(0, 2, 3, 1), card))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_the_test_part_of_a_folder_of_npz_is_taken(tmp_path):
    for name, count in (("train", 20), ("test", 7)):
        images, labels = made(count)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    _, _, labelled = read(tmp_path)
    assert (labelled.images, labelled.part) == (7, "the test part")


@pytest.mark.parametrize("kind", ["npz", "folders"])
def test_where_there_is_no_test_part_the_fifth_that_training_holds_out_is_taken(tmp_path, kind):
    images, labels = made(703)
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    path = tmp_path / "x.npz"
    if kind == "folders":  # in the order of the model, which may be older than counting as people do
        path = save_folders(tmp_path / "x", {"blue": 11, "green": 8, "red": 13})
        images, labels, _ = read(path)
        assert labels.tolist() == sorted(labels)
    rows = hold_out(labels, 0.2, 0)
    got, got_labels, labelled = read(path, parity_over(len(rows)))
    np.testing.assert_array_equal(got, images[rows])
    np.testing.assert_array_equal(got_labels, labels[rows])
    assert labelled.part == f"the fifth of {len(labels)} images that clf-train holds out"


def test_where_it_is_not_known_which_images_test_all_are_taken_and_it_is_said(tmp_path):
    images, labels = made(30)
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    _, _, labelled = read(tmp_path / "x.npz", parity_over(29))
    assert (labelled.images, labelled.part) == (30, "all images")
    assert "cannot tell the test images apart" in labelled.notes[0]


def test_the_test_batch_of_cifar10_is_read_with_its_names(tmp_path):
    images, labels = made(1100, 32)
    folder = save_cifar(tmp_path / "cifar-10-batches-bin", images, labels)
    for i in range(1, 6):
        save_cifar(folder, images[:9], labels[:9], f"data_batch_{i}.bin")
    (folder / "batches.meta.txt").write_text("blue\nred\ngreen\n")
    for path in (folder, tmp_path, folder / "test_batch.bin"):
        got, got_labels, labelled = read(path, CIFAR)
        np.testing.assert_array_equal(got, images)
        np.testing.assert_array_equal(got_labels, np.array([2, 0, 1])[labels])
        assert labelled.part == "the test part"


def test_folders_are_mapped_to_the_model_s_classes_by_name_and_pictures_scaled(tmp_path):
    path = save_folders(tmp_path / "test", {"green": 2, "blue": 1}, size=20)
    for given_path in (path, tmp_path):
        got, labels, labelled = read(given_path)
        assert got.shape == (3, 3, 8, 8)
        assert labels.tolist() == [2, 1, 1]
        assert labelled.part == "the test part"
    assert next(labelled.blocks()).places[0].endswith("blue/000.png")


def test_names_of_data_that_comes_with_numbers(tmp_path):
    images, labels = made(9)

    def labels_by(*names):
        np.savez(tmp_path / "test.npz", images=images, labels=labels, names=list(names))
        _, got, labelled = read(tmp_path / "test.npz")
        return got.tolist(), labelled.notes

    assert labels_by("blue", "red", "green") == ([[2, 0, 1][i] for i in labels], ())
    by_order, notes = labels_by("crimson", "green", "azure")
    assert by_order == labels.tolist()
    assert "matched by index" in notes[0]
    for names in (("crimson", "red", "blue"), ("red", "green", "blue", "pink")):
        with pytest.raises(ImageError, match=r"'(crimson|pink)' is not a class of the model \(red, green, blue\)"):
            labels_by(*names)


def test_a_folder_that_is_no_class_is_named(tmp_path):
    path = save_folders(tmp_path / "test", {"green": 1, "mauve": 1, "red": 1})
    with pytest.raises(ImageError, match="'mauve' is not a class of the model"):
        open_labelled(path, CARD)
    unnamed = ModelCard("tiny", ("0", "1", "2"), (3, 8, 8), "uint8", (0.0, 255.0))
    _, labels, labelled = read(path, unnamed)
    assert labels.tolist() == [0, 1, 2]
    assert "by index" in labelled.notes[0]


def bad_npz(tmp_path, **arrays):
    images, labels = made(6)
    np.savez(tmp_path / "x.npz", **{"images": images, "labels": labels, **arrays})
    return tmp_path / "x.npz"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"labels": np.arange(5)}, r"6 images, but 5 labels"),
        ({"labels": np.array([0, 1, 2, 3, 0, 0])}, r"x.npz\[3\]: its label is 3, there are 3 classes"),
        ({"labels": np.array([0, 1, -2, 0, 0, 0])}, "label 2 is -2"),
        ({"labels": np.array([0, 1, 2, 0.5, 0, 0])}, "label 3 is 0.5"),
        ({"labels": np.array(["a"] * 6)}, "labels of dtype <U1"),
        ({"images": np.zeros((6, 3, 9, 8), np.uint8)}, "6x3x9x8, the model expects N x 3x8x8"),
        ({"images": np.zeros((3, 8, 8), np.uint8)}, "the model expects N x 3x8x8"),
        ({"images": np.full((6, 3, 8, 8), 2.0)}, r"x.npz\[0\]: floats outside 0..1"),
        ({"images": np.array([{}] * 6)}, "a pickle"),
        ({"names": np.array([1, 2, 3])}, "names must be one string per class"),
        ({"names": np.array(["a", "a", "b"])}, "duplicate class name"),
    ],
)
def test_a_wrong_npz_is_one_line(tmp_path, arrays, says):
    with pytest.raises(ImageError, match=says):
        read(bad_npz(tmp_path, **arrays))


def test_an_image_at_fault_is_named_by_its_place_in_the_file(tmp_path):
    images = np.zeros((620, 3, 8, 8), np.float32)
    images[610, 0, 0, 0] = np.nan
    with pytest.raises(ImageError, match=r"x.npz\[610\]: a value that is NaN"):
        read(bad_npz(tmp_path, images=images, labels=np.zeros(620)))


def test_what_is_no_source_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "test_batch.bin").write_bytes(bytes(3074))
    (tmp_path / "x.npz").write_bytes(b"nonsense")
    (tmp_path / "text").write_text("hello")
    cases = {
        "missing": "no such file",
        "empty": "unknown layout",
        "test_batch.bin": "not a multiple of the record size",
        "text": "unknown layout",
    }
    for name, says in {**cases, "x.npz": "not an .npz archive", "a\0b": "no such file"}.items():
        with pytest.raises(ImageError, match=says):
            read(tmp_path / name, CIFAR)


def test_a_tiny_archive_that_claims_a_terabyte_takes_no_memory(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 33, 3, 8, 8)})
    labels = io.BytesIO()
    np.lib.format.write_array_header_1_0(labels, {"descr": "|u1", "fortran_order": False, "shape": (1 << 33,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
        archive.writestr("labels.npy", labels.getvalue())
    with pytest.raises(ImageError, match="its header says 1,649,267,441,664 bytes, there are 0"):
        read(tmp_path / "x.npz")


def test_memory_does_not_grow_with_the_data(tmp_path):
    peaks = []
    for count in (2_000, 8_000):
        images, labels = np.zeros((count, 3, 32, 32), np.uint8), np.arange(count) % 3
        np.savez_compressed(tmp_path / "test.npz", images=images, labels=labels)
        save_cifar(tmp_path / "bin", images, labels)
        for path in (tmp_path / "test.npz", tmp_path / "bin"):
            tracemalloc.start()
            for _ in open_labelled(path, CIFAR).blocks():
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert max(peaks[2:]) < 1.2 * max(peaks[:2]) < 24 << 20


@given(data=st.data())
def test_damaged_files_give_errors_of_clf_edge_only(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    images, labels = made(6)
    np.savez_compressed(folder / "x.npz", images=images, labels=labels, names=list(NAMES))
    whole = bytearray((folder / "x.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "x.npz").write_bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    with contextlib.suppress(ClfError):
        read(folder / "x.npz")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    images, labels = made(1100, 32)
    folder = save_cifar(tmp_path / "x", images, labels)
    blocks = cifar10.look(folder, decode_picture).test().blocks(TEST_BATCH, None)
    next(blocks)
    with (folder / "test_batch.bin").open("r+b") as stream:
        stream.truncate(TEST_BATCH * 3073 + 5)
    with pytest.raises(ImageError, match="truncated"):
        list(blocks)


def test_a_picture_that_goes_while_it_is_read_is_an_error_of_clf_edge(tmp_path):
    path = save_folders(tmp_path / "test", {"red": 2, "green": 1})
    blocks = open_labelled(path, CARD).blocks()
    (path / "red" / "001.png").unlink()
    with pytest.raises(ImageError, match=r"001.png: cannot be read: No such file"):
        list(blocks)
    (path / "red" / "001.png").symlink_to(path / "nowhere")
    with pytest.raises(ImageError, match="not a picture in a known format"):
        open_labelled(path, CARD)


def test_what_the_system_refuses_is_an_error_of_clf_edge(tmp_path):
    images, labels = made(3)
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    blocks = open_labelled(tmp_path, CARD).blocks()
    (tmp_path / "test.npz").unlink()
    with pytest.raises(ImageError, match="cannot be read: No such file"):
        list(blocks)


@pytest.mark.parametrize("kind", ["npz", "bin"])
def test_a_source_that_another_takes_the_place_of_is_refused(tmp_path, kind):
    """Its labels or images would be those of a file that nobody has looked at."""
    images, labels = made(30, 32)
    place = {"npz": "x.npz", "bin": "test_batch.bin"}[kind]
    for folder, order in ((tmp_path / "a", 1), (tmp_path / "b", -1)):
        folder.mkdir()
        if kind == "npz":
            np.savez(folder / place, images=images, labels=labels[::order])
        else:
            save_cifar(folder, images, labels[::order])
    labelled = open_labelled(tmp_path / "a" / place, CIFAR)
    assert len(list(labelled.blocks())) == 1
    os.replace(tmp_path / "b" / place, tmp_path / "a" / place)
    with pytest.raises(ImageError, match="the file was replaced or modified"):
        list(labelled.blocks())
    with pytest.raises(ImageError, match="the file was replaced or modified"):
        labelled.opened.labels()


def test_headers_for_all_members_take_no_memory(tmp_path):
    """tarfile keeps them up to the end: 40 of a megabyte each are packed to 180 kB."""
    with gzip.open(tmp_path / "x.tar.gz", "wb", 1) as stream:
        for i in range(40):
            text = b"1000020 K%04d=" % i + b"x" * 1_000_006
            text = text[:1_000_019] + b"\n"
            header = tarfile.TarInfo("g")
            header.type, header.size = tarfile.XGLTYPE, len(text)
            stream.write(header.tobuf(tarfile.USTAR_FORMAT) + text + bytes(-len(text) % 512))
            stream.write(tarfile.TarInfo(f"{i}.png").tobuf(tarfile.USTAR_FORMAT))
        stream.write(bytes(1024))
    tracemalloc.start()
    with pytest.raises(ImageError, match=r"x.tar.gz: damaged or truncated: headers for all members"):
        open_labelled(tmp_path / "x.tar.gz", CIFAR)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_small_archive_with_a_long_name_takes_no_memory(tmp_path):
    """tarfile would read a name of as many bytes as its header claims, and gzip packs them to a thousandth."""
    name = tarfile.TarInfo("x")
    name.type, name.size = tarfile.XHDTYPE, 64 << 20
    with gzip.open(tmp_path / "x.tar.gz", "wb") as stream:
        stream.write(name.tobuf(tarfile.USTAR_FORMAT) + bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(ImageError, match=r"x.tar.gz: damaged or truncated: a (read|header) of"):
        open_labelled(tmp_path / "x.tar.gz", CIFAR)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
