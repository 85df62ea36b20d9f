"""Pickles that once took the reader of CIFAR-10 too long or too far: each of these was a bug."""

import struct
import subprocess
import sys

import pytest

from clf_runtime.datasets import pickles
from clf_runtime.datasets.pickles import unpickle
from clf_runtime.errors import ImageError


def run(data):
    code = """if True:
        import sys
        from clf_runtime.errors import ImageError
        from clf_runtime.datasets.pickles import unpickle
        try:
            unpickle(sys.stdin.buffer.read(), "here")
        except ImageError:
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
        from clf_runtime.errors import ImageError
        from clf_runtime.datasets.pickles import unpickle
        data = sys.stdin.buffer.read()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            unpickle(data, "here")
        except ImageError:
            pass
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    out = subprocess.run([sys.executable, "-c", code], input=bomb, capture_output=True, timeout=60)
    assert int(out.stdout) < 100


def test_a_pickle_cannot_change_the_reader():
    data = b"\x80\x02}U\x01xcnumpy\ndtype\nN}U\x0c__defaults__K\x07\x85s\x86bs."
    before = pickles._dtype.__defaults__ if hasattr(pickles, "_dtype") else None
    with pytest.raises(ImageError):
        unpickle(data, "here")
    assert not hasattr(pickles, "_dtype") or pickles._dtype.__defaults__ == before


@pytest.mark.parametrize(
    "data", [b"\x80\x02}U\x01xcnumpy\ndtype\ns.", b"\x80\x02}U\x01x](K\x01K\x02\x86es.", b"\x80\x02}U\x01x}s."]
)
def test_only_what_is_promised_comes_out(data):
    with pytest.raises(ImageError):
        unpickle(data, "here")
