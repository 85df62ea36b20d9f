import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clf_runtime import ImageError, ModelCard
from clf_runtime.bounded import open_regular
from clf_runtime.inputs import files as images
from clf_runtime.inputs.files import read_images
from clf_runtime.inputs.npz import MAX_MEMBERS, open_npz

CARD = ModelCard("m", ("a", "b"), (3, 4, 5), "uint8", (0.0, 255.0))
IMAGES = (np.arange(600 * 60) % 251).astype(np.uint8).reshape(600, 3, 4, 5)
LABELS = np.arange(600)


@pytest.fixture(params=[np.savez, np.savez_compressed], ids=["stored", "deflated"])
def save(request):
    return request.param


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def read_members(path, most=1 << 20):
    """All arrays of an archive, each of `most` bytes less those before it."""
    arrays = {}
    with open_npz(path) as archive:
        for name in archive.names:
            arrays[name] = archive.read(name, most)
            most -= arrays[name].nbytes
    return arrays


def packed(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_arrays_come_back_in_their_order(save, tmp_path):
    save(tmp_path / "x.npz", images=IMAGES, labels=LABELS, names=np.array(["a", "b"]))
    everything = read_members(tmp_path / "x.npz")
    assert list(everything) == ["images", "labels", "names"]
    np.testing.assert_array_equal(everything["images"], IMAGES)
    np.testing.assert_array_equal(everything["labels"], LABELS)


def test_images_are_read_in_blocks_from_the_array_of_that_name(save, tmp_path):
    save(tmp_path / "x.npz", labels=LABELS, images=IMAGES)
    blocks = list(read_images(tmp_path / "x.npz", CARD))
    assert [first for first, _ in blocks] == [0, 256, 512]
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), IMAGES)


def test_the_only_array_may_have_any_name_and_any_order(save, tmp_path):
    save(tmp_path / "x.npz", np.asfortranarray(IMAGES))
    np.testing.assert_array_equal(np.concatenate([b for _, b in read_images(tmp_path / "x.npz", CARD)]), IMAGES)
    save(tmp_path / "y.npz", picture=IMAGES[0])
    [(first, image)] = read_images(tmp_path / "y.npz", CARD)
    assert first is None
    np.testing.assert_array_equal(image, IMAGES[0])


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a": IMAGES, "b": LABELS}, r"contains neither an array images nor a single array \(arrays: a, b\)"),
        ({}, "arrays: none"),
        ({"images": LABELS}, "shape 600, the model expects 3x4x5"),
        ({"images": np.zeros((3, 4, 5), complex)}, "dtype complex128"),
        ({"images": np.array([{}])}, "never loaded"),
    ],
)
def test_what_holds_no_images_is_refused(tmp_path, arrays, says):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ImageError, match=says):
        list(read_images(tmp_path / "x.npz", CARD))


def test_an_array_that_is_not_what_its_checksum_says_is_never_answered(save, tmp_path):
    file = tmp_path / "x.npz"
    save(file, images=IMAGES)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ImageError, match=r"x\.npz, array images: .*damaged"):
        next(read_images(file, CARD))


@pytest.mark.parametrize("size", [0, 30, 300, -1])
def test_an_archive_that_is_cut_short_is_refused(save, tmp_path, size):
    save(tmp_path / "x.npz", images=IMAGES)
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data[:size])
    with pytest.raises(ImageError, match=r"x\.npz: not an \.npz archive"):
        read_members(tmp_path / "x.npz")


@pytest.mark.parametrize(("more", "found"), [(b"1", "61"), (b"1" * 3_000_000, "3,000,060"), (None, "59")])
def test_an_array_is_as_long_as_its_header_says(tmp_path, more, found):
    data = npy(IMAGES[0])
    packed(tmp_path / "x.npz", [("images.npy", data[:-1] if more is None else data + more)])
    with pytest.raises(ImageError, match=f"its header says 60 bytes, there are {found}"):
        read_members(tmp_path / "x.npz")


def test_more_than_is_allowed_is_refused_whatever_the_archive_claims(tmp_path):
    packed(tmp_path / "x.npz", [("a.npy", npy(np.zeros(600, np.uint8))), ("b.npy", npy(np.zeros(600, np.uint8)))])
    assert len(read_members(tmp_path / "x.npz", 1200)) == 2
    with pytest.raises(ImageError, match=r"array b: an array of 600 bytes exceeds the limit of 599"):
        read_members(tmp_path / "x.npz", 1199)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(tmp_path):
    packed(tmp_path / "x.npz", [("images.npy", npy(IMAGES)), ("images", npy(IMAGES[:3]))])
    with pytest.raises(ImageError, match="duplicate array 'images'"):
        read_members(tmp_path / "x.npz")


def test_too_many_members_are_refused(tmp_path):
    packed(tmp_path / "x.npz", [(str(i), b"") for i in range(MAX_MEMBERS + 1)])
    with pytest.raises(ImageError, match="1,001 arrays"):
        read_members(tmp_path / "x.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_pack_more_tightly_than_numpy_s_are_refused(tmp_path, method):
    packed(tmp_path / "x.npz", [("images.npy", npy(IMAGES))], method)
    with pytest.raises(ImageError, match="unsupported compression"):
        read_members(tmp_path / "x.npz")


def test_members_that_share_their_bytes_are_refused(tmp_path):
    """As the most effective zip bombs do: many entries of the directory that point at one."""
    data = zlib.compress(npy(np.zeros(1_000_000, np.uint8)), 9)[2:-4]
    crc = zlib.crc32(npy(np.zeros(1_000_000, np.uint8)))
    fields = (20, 0, 8, 0, 0, crc, len(data), 1_000_128, 1, 0)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + b"a"
    entries = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *fields, 0, 0, 0, 0, 0) + bytes([97 + i]) for i in range(20)
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 20, 20, len(entries), len(local) + len(data), 0)
    (tmp_path / "x.npz").write_bytes(local + data + entries + end)
    with pytest.raises(ImageError, match="larger than the file"):
        read_members(tmp_path / "x.npz")


def test_a_directory_is_not_read_for_as_long_as_it_claims_to_be(tmp_path):
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 2_000_000, 0, 0)
    (tmp_path / "x.npz").write_bytes(bytes(2_000_000) + end)
    with pytest.raises(ImageError, match="2,000,000 bytes at once"):
        read_members(tmp_path / "x.npz")


def test_errors_of_others_pass_through_an_open_archive(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES)
    with pytest.raises(KeyError, match="mine"), open_npz(tmp_path / "x.npz"):
        raise KeyError("mine")


@pytest.mark.parametrize(("count", "times"), [(1, 1), (600, 1), (150_000, 2)])
def test_an_array_is_unpacked_once_and_twice_where_it_is_large(tmp_path, monkeypatch, count, times):
    batch = np.zeros((count, 3, 4, 5), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", batch)
    unpacked, read = [], zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *args: unpacked.append(read(*args)) or unpacked[-1])
    assert sum(len(block) for _, block in read_images(tmp_path / "x.npz", CARD)) == count
    assert sum(map(len, unpacked)) <= times * batch.nbytes + 1000  # and the header, looked at before


def test_what_was_looked_at_is_what_is_read_though_another_takes_its_place(save, tmp_path, monkeypatch):
    """An archive was opened anew by its path, once its first bytes had told what it is."""
    file, other = tmp_path / "x.npz", tmp_path / "other.npz"
    save(file, images=IMAGES)
    save(other, images=IMAGES[::-1])

    def open_and_swap(path):
        stream = open_regular(path)
        os.replace(other, file)
        return stream

    monkeypatch.setattr(images, "open_regular", open_and_swap)
    np.testing.assert_array_equal(np.concatenate([block for _, block in read_images(file, CARD)]), IMAGES)


def test_a_missing_archive_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path, "a\0b"):
        with pytest.raises(ImageError, match=r"No such file|directory|null"):
            read_members(path)


GOOD = {}
for _save in (np.savez, np.savez_compressed):
    _stream = io.BytesIO()
    _save(_stream, images=IMAGES[:2], labels=LABELS[:2])
    GOOD[_save.__name__] = _stream.getvalue()


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_no_damage_raises_anything_else_or_changes_an_array(tmp_path_factory, kind, data):
    broken = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / "damaged.npz"
    file.write_bytes(broken)
    try:
        arrays = read_members(file)
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        for array in arrays.values():
            assert array.tobytes() in (IMAGES[:2].tobytes(), LABELS[:2].tobytes())
