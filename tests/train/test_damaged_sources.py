"""Sources that are damaged, hostile or odd in ways that once got through: each of these was a bug."""

import io
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from clf_train.errors import DataError
from clf_train.sources import cifar10_pickle, read_source
from clf_train.sources.cifar10_pickle import unpickle

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


def run(data):
    code = """if True:
        import sys
        from clf_train.errors import DataError
        from clf_train.sources.cifar10_pickle import unpickle
        try:
            unpickle(sys.stdin.buffer.read(), "here")
        except DataError:
            print("refused")
    """
    return subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=10)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02})" + b"\x85" * 1_000_000 + b"Ns.",
        b"\x80\x02})" + b"".join(b"q%ch%ch%c\x87" % (i, i, i) for i in range(40)) + b"Ns.",
        b"\x80\x02}("
        + b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N" for i in range(100_000))
        + b"u.",
    ],
    ids=["deep tuple key: segmentation fault", "shared tuple key: exponential", "colliding int keys: quadratic"],
)
def test_hostile_keys(data):
    assert run(data).stdout.split() == [b"refused"]


def test_memory_bomb_of_encode():

    bomb = (
        b"\x80\x02}U\x01x(c_codecs\nencode\nq\x00X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"U\x06latin1\x86q\x01"
    )
    bomb += b"h\x00h\x01R" * 500 + b"ls."
    code = """if True:
        import resource, sys
        from clf_train.errors import DataError
        from clf_train.sources.cifar10_pickle import unpickle
        data = sys.stdin.buffer.read()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            unpickle(data, "here")
        except DataError:
            pass
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    out = subprocess.run([sys.executable, "-c", code], input=bomb, capture_output=True, timeout=60)
    assert int(out.stdout) < 100


def test_a_pickle_cannot_change_the_reader():
    data = b"\x80\x02}U\x01xcnumpy\ndtype\nN}U\x0c__defaults__K\x07\x85s\x86bs."
    before = cifar10_pickle._dtype.__defaults__ if hasattr(cifar10_pickle, "_dtype") else None
    with pytest.raises(DataError):
        unpickle(data, "here")
    assert not hasattr(cifar10_pickle, "_dtype") or cifar10_pickle._dtype.__defaults__ == before


@pytest.mark.parametrize(
    "data", [b"\x80\x02}U\x01xcnumpy\ndtype\ns.", b"\x80\x02}U\x01x](K\x01K\x02\x86es.", b"\x80\x02}U\x01x}s."]
)
def test_only_what_is_promised_comes_out(data):
    with pytest.raises(DataError):
        unpickle(data, "here")


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
    with pytest.raises(DataError, match=r"there twice|is empty"):
        read_source(npz(tmp_path / "a.npz", names=npy(np.array(names))))


def test_npz_arrays_that_are_not_read_are_refused(tmp_path):
    with pytest.raises(DataError, match="test_images"):
        read_source(npz(tmp_path / "a.npz", test_images=npy(X), test_labels=npy(Y)))


def test_npz_the_same_array_twice(tmp_path):
    with pytest.raises(DataError, match="twice"):
        read_source(npz(tmp_path / "a.npz", **{"old/images": npy(X[::-1])}))


def test_npz_suffix_in_upper_case(tmp_path):
    assert read_source(npz(tmp_path / "A.NPZ")).layout == "npz arrays"
