"""`.npz` archives that are damaged or odd in ways that once got through: each of these was a bug."""

import io
import struct
import zipfile

import numpy as np
import pytest

from clf_train.data.sources import read_source
from clf_train.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 6), dtype=np.uint8)
Y = np.arange(20) % 2


def npy(a):
    b = io.BytesIO()
    np.save(b, a)
    return b.getvalue()


def npz(file, **members):
    with zipfile.ZipFile(file, "w") as z:
        for k, v in ({"images": npy(X), "labels": npy(Y)} | members).items():
            z.writestr(k + ".npy", v)
    return file


def header(descr, shape, data=b""):
    t = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(t)) + t + data


def test_corrupt_deflate(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=X, labels=Y)
    d = bytearray((tmp_path / "a.npz").read_bytes())
    d[60:70] = b"\xff" * 10
    (tmp_path / "a.npz").write_bytes(d)
    with pytest.raises(DataError, match=r"a.npz"):
        read_source(tmp_path / "a.npz")


def test_zip_member_name_that_is_not_utf8(tmp_path):
    f = npz(tmp_path / "a.npz", **{"ü": b""})
    f.write_bytes(f.read_bytes().replace("ü".encode(), b"\xff\xff"))
    with pytest.raises(DataError, match=r"a.npz"):
        read_source(f)


@pytest.mark.parametrize(
    "members",
    [
        {"images": header("|S0", (20, 3, 4, 4))},
        {"images": header("|V0", (20, 3, 4, 4))},
        {"images": header("|u1", (2**62, 2**62, 0))},
        {"images": header("|u1", (0, 10**26))},
        {"names": header("<U1", (2,), b"\xff" * 8)},
        {"names": npy(np.array([b"\xff", b"a"]))},
    ],
    ids=["S0", "V0", "huge shape", "huge dimension", "code point", "latin1 names"],
)
def test_npy_members(tmp_path, members):
    with pytest.raises(DataError, match=r"a.npz"):
        read_source(npz(tmp_path / "a.npz", **members))


@pytest.mark.parametrize("names", [["a", "a"], ["a", ""], ["a", " "]])
def test_npz_names_are_checked_like_others(tmp_path, names):
    with pytest.raises(DataError, match=r"duplicate class name|is empty|empty"):
        read_source(npz(tmp_path / "a.npz", names=npy(np.array(names))))


def test_npz_arrays_that_are_not_read_are_refused(tmp_path):
    with pytest.raises(DataError, match="contains an unknown array more"):
        read_source(npz(tmp_path / "a.npz", more=npy(X)))


@pytest.mark.parametrize("prefix", ["", "train_"])
def test_an_npz_may_hold_its_test_part_too(tmp_path, prefix):
    arrays = {f"{prefix}images": X, f"{prefix}labels": Y, "test_images": X[::-1], "test_labels": Y[::-1]}
    np.savez(tmp_path / "a.npz", **arrays)
    read = read_source(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.train.images, X)
    np.testing.assert_array_equal(read.test.images, X[::-1])
    np.testing.assert_array_equal(read.test.labels, Y[::-1])
    assert read.notes == ()


def test_a_validation_part_is_held_out_but_for_runs_of_before(tmp_path):
    np.savez(tmp_path / "a.npz", images=X, labels=Y, test_images=X, test_labels=Y, val_images=X[:3], val_labels=Y[:3])
    read = read_source(tmp_path / "a.npz")
    assert (len(read.train), read.validation_images) == (len(X) + 3, 3)
    before = read_source(tmp_path / "a.npz", as_before=True)
    assert (len(before.train), before.validation_images) == (len(X), None)
    assert before.fingerprint != read.fingerprint


def test_npz_the_same_array_twice(tmp_path):
    with pytest.raises(DataError, match="twice"):
        read_source(npz(tmp_path / "a.npz", **{"old/images": npy(X[::-1])}))


def test_npz_suffix_in_upper_case(tmp_path):
    assert read_source(npz(tmp_path / "A.NPZ")).layout == "npz arrays"
