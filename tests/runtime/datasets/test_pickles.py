"""The reader of pickles: it reads what CIFAR-10 holds, runs nothing, and answers anything else with ImageError."""

import os
import pickle
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clf_runtime.datasets.pickles import unpickle
from clf_runtime.errors import ImageError

ROWS = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
NUMPY = ["numpy.core.multiarray", "numpy._core.multiarray"]


def short(text: bytes) -> bytes:
    """The opcode of a str of Python 2."""
    return b"U" + bytes([len(text)]) + text


def python2_array(module: str, shape: tuple[int, int], raw: bytes, dtype: bytes = b"u1") -> bytes:
    """An array as numpy under Python 2 pickled it, opcode by opcode."""
    reconstruct = f"c{module}\n_reconstruct\ncnumpy\nndarray\n".encode() + b"K\x00\x85" + short(b"b") + b"\x87R"
    kind = b"cnumpy\ndtype\n" + short(dtype) + b"K\x00K\x01\x87R" + b"(K\x03" + short(b"|") + b"NNN"
    kind += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    size = b"".join(b"M" + struct.pack("<H", n) for n in shape) + b"\x86"
    return reconstruct + b"(K\x01" + size + kind + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"


def python2_batch(array: bytes) -> bytes:
    return b"\x80\x02}(" + short(b"data") + array + short(b"labels") + b"](K\x00K\x01K\x02eu."


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.parts


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_comes_back_from_every_protocol_and_memory_order(protocol: int, order: str) -> None:
    array = np.asarray(ROWS, order=order)
    read = unpickle(pickle.dumps({b"data": array, b"labels": [2, 1, 0]}, protocol), "here")
    np.testing.assert_array_equal(read["data"], ROWS)
    assert read["data"].dtype == np.uint8
    assert read["labels"] == [2, 1, 0]


@pytest.mark.parametrize("module", NUMPY)
def test_an_array_of_python_2_comes_back(module: str) -> None:
    read = unpickle(python2_batch(python2_array(module, ROWS.shape, ROWS.tobytes())), "here")
    np.testing.assert_array_equal(read["data"], ROWS)
    assert read["labels"] == [0, 1, 2]


def test_the_hand_written_array_of_these_tests_is_one_that_pickle_reads() -> None:
    data = python2_batch(python2_array("numpy._core.multiarray", ROWS.shape, ROWS.tobytes()))
    np.testing.assert_array_equal(pickle.loads(data, encoding="latin1")["data"], ROWS)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({b"a": [b"x", "y", "z\u00fc"]}, {"a": ["x", "y", "zü"]}),
        ({"a": [0, 1, 255, 256, 65536, -1, 2**70]}, {"a": [0, 1, 255, 256, 65536, -1, 2**70]}),
        ({b"n": 10000, "t": "text"}, {"n": 10000, "t": "text"}),
        ({}, {}),
        ({"": []}, {"": []}),
    ],
    ids=["texts", "numbers", "both", "empty", "empty key"],
)
def test_lists_texts_and_numbers_come_back_with_keys_of_text(
    written: dict[Any, Any], read: dict[str, Any], protocol: int
) -> None:
    assert unpickle(pickle.dumps(written, protocol), "here") == read


def refuse(data: bytes, reason: str = "", limit: float = 60.0) -> None:
    """Hold that a pickle gives a ImageError of one line, soon."""
    start = time.perf_counter()
    with pytest.raises(ImageError, match=rf"here: not a file of CIFAR-10's python version: .*{reason}") as caught:
        unpickle(data, "here")
    assert time.perf_counter() - start < limit
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


CALLS: dict[str, Callable[[str], Any]] = {
    "os.system": lambda marker: Call(os.system, f"touch '{marker}'"),
    "builtins.eval": lambda marker: Call(eval, f"open({marker!r}, 'w').close()"),
    "builtins.exec": lambda marker: Call(exec, f"open({marker!r}, 'w').close()"),
    "os.mkdir": lambda marker: Call(os.mkdir, marker),
    "as a key": lambda marker: {Call(os.system, f"touch '{marker}'"): 1},
    "within a list": lambda marker: {"labels": [0, Call(os.system, f"touch '{marker}'")]},
    "within an array": lambda marker: {"data": np.array([Call(os.system, f"touch '{marker}'")], object)},
    "numpy's own loader": lambda marker: {"data": Call(np.load, marker)},
    "a getattr": lambda marker: {"data": Call(getattr, np, "ndarray")},
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("case", CALLS)
def test_a_pickle_that_calls_anything_is_refused_and_runs_nothing(tmp_path: Path, case: str, protocol: int) -> None:
    marker = tmp_path / "marker"
    if case == "a getattr":
        data = b"\x80\x02}U\x04datacbuiltins\ngetattr\ncnumpy\nndarray\nU\x08__name__\x86Rs."
    else:
        data = pickle.dumps(CALLS[case](str(marker)), protocol)
    refuse(data)
    assert not marker.exists()


def test_the_calls_of_these_tests_are_real(tmp_path: Path) -> None:
    for case in ("os.system", "builtins.eval", "builtins.exec", "os.mkdir", "within a list"):
        marker = tmp_path / case
        pickle.loads(pickle.dumps(CALLS[case](str(marker))))
        assert marker.exists(), case


FOREIGN = (
    "os system",
    "posix system",
    "builtins eval",
    "builtins getattr",
    "subprocess Popen",
    "numpy load",
    "numpy fromfile",
    "numpy.core.multiarray frombuffer",
    "numpy dtype.__class__",
    "_codecs decode",
    "copyreg _reconstructor",
)


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("form", ["GLOBAL", "STACK_GLOBAL", "INST"])
def test_a_name_that_numpys_arrays_do_not_need_is_refused_by_name(name: str, form: str) -> None:
    module, function = name.split()
    data = {
        "GLOBAL": f"}}c{module}\n{function}\n.".encode(),
        "STACK_GLOBAL": b"\x80\x04}" + short(module.encode()) + short(function.encode()) + b"\x93.",
        "INST": f"}}(i{module}\n{function}\n.".encode(),
    }[form]
    refuse(data, "it uses INST" if form == "INST" else f"it names {module}.{function}")


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "only the end": b".",
    "no end": b"\x80\x02}",
    "text": b"hello, this is no pickle",
    "a zip": b"PK\x03\x04" + bytes(60),
    "zeros": bytes(1000),
    "a list": pickle.dumps([1, 2]),
    "a number": pickle.dumps(7),
    "an array alone": pickle.dumps(ROWS, 2),
    "a key that is a number": pickle.dumps({1: 2}, 2),
    "a key that is a tuple": pickle.dumps({(): 2}, 2),
    "a key that is not UTF-8": b"\x80\x03}C\x02\xff\xfeK\x01s.",
    "a float": pickle.dumps({"labels": [0.5]}, 2),
    "a set": pickle.dumps({"labels": {1}}, 4),
    "a bytearray": pickle.dumps({"labels": bytearray(3)}, 5),
    "a complex number": pickle.dumps({"labels": 1j}, 2),
    "an array of int64": pickle.dumps({"data": np.arange(3)}, 2),
    "an array of objects": pickle.dumps({"data": np.array([1, "a"], object)}, 2),
    "an array of protocol 5": pickle.dumps({"data": ROWS}, 5),
    "a structured array": pickle.dumps({"data": np.zeros(2, "u1,u1")}, 2),
    "a numpy number": pickle.dumps({"data": np.float64(3)}, 2),
    "LONG_BINPUT with a huge index": b"\x80\x02}r\xff\xff\xff\x7f.",
    "LONG_BINPUT with the largest index": b"\x80\x02}r\xff\xff\xff\xff.",
    "PUT with a huge index": b"}p99999999999\n.",
    "PUT with a negative index": b"}p-1\n.",
    "PUT with an index of text": b"}pten\n.",
    "GET of what was never put": b"\x80\x02h\x05.",
    "BINBYTES that claims 2 GB": b"\x80\x03}U\x01aB\xff\xff\xff\x7f" + bytes(10) + b"s.",
    "BINBYTES8": b"\x80\x04}U\x01a\x8e" + struct.pack("<Q", 4) + b"abcds.",
    "BINBYTES8 that claims an exabyte": b"\x80\x04}U\x01a\x8e" + struct.pack("<Q", 1 << 60) + b"s.",
    "BINUNICODE that claims 2 GB": b"\x80\x02}X\xff\xff\xff\x7fabcs.",
    "BINUNICODE8 that claims an exabyte": b"\x80\x04}\x8d" + struct.pack("<Q", 1 << 60) + b"s.",
    "BYTEARRAY8 that claims an exabyte": b"\x80\x05}\x96" + struct.pack("<Q", 1 << 60) + b"s.",
    "BINSTRING of negative length": b"\x80\x02}T\xff\xff\xff\xffabcs.",
    "BINSTRING that claims 2 GB": b"\x80\x02}T\xff\xff\xff\x7fabcs.",
    "LONG4 that claims 2 GB": b"\x80\x02}\x8b\xff\xff\xff\x7fs.",
    "LONG of a million digits": b"}(lp0\nL" + b"9" * 1_000_000 + b"L\na.",
    "FRAME that claims an exabyte": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"}.",
    "an unknown protocol": b"\x80\xff}.",
    "an unknown opcode": b"\x80\x02}\xffs.",
    "a persistent id": b"Pname\n.",
    "an extension code": b"\x80\x02\x82\x01.",
    "NEWOBJ": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "OBJ": b"(cnumpy\nndarray\no.",
    "DUP": b"\x80\x02}2ss.",
    "POP_MARK": b"\x80\x02}(1.",
    "an empty stack": b"\x80\x02s.",
    "a mark that is never closed": b"\x80\x02}(.",
    "a hundred thousand marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "lists, a hundred thousand deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "tuples, a hundred thousand deep": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "a call of a text": b"\x80\x02}U\x01aU\x01b)Rs.",
    "a call of a dict": b"\x80\x02}})R.",
    "a state for a dict": b"\x80\x02}}U\x01aK\x01sb.",
    "an unhashable key": b"\x80\x02}]K\x01s.",
    "a raw text with a bad escape": b"(dS'\\x'\nI1\ns.",
    "a raw text without quotes": b"(dSabc\nI1\ns.",
    "a protocol 0 text with a bad escape": b"(dV\\u12\nI1\ns.",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_batch_is_refused_soon(case: str) -> None:
    refuse(HOSTILE[case])


@pytest.mark.parametrize(
    "put", [b"r" + struct.pack("<I", 5_000_000), b"r" + struct.pack("<I", 2**32 - 1), b"p5000000\n", b"p99999999999\n"]
)
def test_a_memo_larger_than_the_file_is_refused_before_memory_is_taken(put: bytes) -> None:
    refuse(b"\x80\x02}" + put + b".", "an invalid memo index")


@pytest.mark.parametrize(
    "state",
    [
        b"N",
        b"K\x01",
        b")",
        b"(K\x01K\x02\x85NK\x00U\x02abt",
        b"(K\x01)cnumpy\ndtype\nU\x02O8\x85R\x89](K\x01K\x02et",
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02u1\x85R\x89Nt",
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02u1\x85R\x89](K\x01K\x02et",
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02u1\x85R\x89U\x03abct",
        b"(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86cnumpy\ndtype\nU\x02u1\x85R\x89U\x03abct",
        b"(K\x01U\x03abccnumpy\ndtype\nU\x02u1\x85R\x89U\x03abct",
        b"(K\x01K\x03\x85cnumpy\ndtype\n)R\x89U\x03abct",
        b"(K\x01K\x03\x85U\x02u1\x89U\x03abct",
        b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02u1\x85R\x89X\x03\x00\x00\x00\xe2\x82\xact",
    ],
    ids=[
        "none",
        "a number",
        "an empty tuple",
        "no dtype",
        "objects",
        "no bytes",
        "a list as bytes",
        "a shape of another size",
        "a huge shape",
        "a shape of text",
        "a dtype of nothing",
        "a dtype of text",
        "bytes beyond latin1",
    ],
)
def test_an_array_whose_state_is_wrong_is_refused(state: bytes) -> None:
    start = b"\x80\x02}" + short(b"data") + b"cnumpy.core.multiarray\n_reconstruct\n)R"
    refuse(start + state + b"bs.")


def test_an_array_without_state_is_refused() -> None:
    refuse(b"\x80\x02}" + short(b"data") + b"cnumpy.core.multiarray\n_reconstruct\n)Rs.")


@pytest.mark.parametrize("protocol", range(5))
def test_a_batch_cut_anywhere_is_refused(protocol: int) -> None:
    data = pickle.dumps({b"data": ROWS[:, :8], b"labels": [0, 1, 2], b"filenames": [b"a", b"b"]}, protocol)
    for kept in range(len(data)):
        refuse(data[:kept])


def test_the_largest_batch_is_read_soon() -> None:
    rows = np.zeros((10_000, 3072), np.uint8)
    batch = {
        b"data": rows,
        b"labels": [i % 10 for i in range(10_000)],
        b"filenames": [b"f%d" % i for i in range(10_000)],
    }
    data = pickle.dumps(batch, 2)
    start = time.perf_counter()
    assert len(unpickle(data, "here")["labels"]) == 10_000
    assert time.perf_counter() - start < 60


VALID = [
    *(pickle.dumps({b"data": ROWS[:, :8], b"labels": [0, 1, 2], b"filenames": [b"a", "b"]}, p) for p in range(5)),
    python2_batch(python2_array("numpy.core.multiarray", (3, 8), ROWS[:, :8].tobytes())),
]
OPCODES = st.sampled_from(
    [bytes([code]) for code in b"()].NR}abcdehiloqrstuBCDFGIJKLMPQSTUVX\x80\x81\x85\x86\x8a\x93\x94\x95"]
)
EDIT = st.tuples(st.integers(0, 600), st.integers(0, 4), st.one_of(st.binary(max_size=5), OPCODES))


@settings(max_examples=250, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(VALID), st.lists(EDIT, min_size=1, max_size=6))
def test_a_batch_with_random_changes_gives_a_dict_or_an_image_error(
    valid: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    data = valid
    for place, removed, added in edits:
        place %= len(data) + 1
        data = data[:place] + added + data[place + removed :]
    try:
        read = unpickle(data, "here")
    except ImageError:
        return
    assert type(read) is dict
    assert all(type(key) is str for key in read)


@settings(max_examples=200, deadline=None, database=None)
@given(st.one_of(st.binary(max_size=60), st.lists(OPCODES, max_size=40).map(b"".join)))
def test_random_bytes_and_opcodes_give_a_dict_or_an_image_error(data: bytes) -> None:
    with suppress(ImageError):
        assert type(unpickle(data, "here")) is dict
