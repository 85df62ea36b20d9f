"""Tensors of torch.save, written here byte by byte, since a device has no torch; files that are none, or hostile."""

import contextlib
import io
import pickle
import re
import struct
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clf_runtime import ClfError, ImageError
from clf_runtime.datasets import torch_save
from clf_runtime.datasets.source import Memory

VALUES = np.arange(4 * 3 * 2, dtype=np.float32).reshape(4, 3, 2)


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def pickled(shape=(4, 3, 2), strides=(6, 2, 1), offset=0, storage="FloatStorage", key="0", metadata=b""):
    """What torch writes of a tensor, opcode by opcode."""
    stored = b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text(key) + text("cpu") + number(24) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + (stored + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + hooks + metadata)
        + b"tR."
    )


def save(file, data=None, values=None, kind=zipfile.ZIP_STORED, **more):
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("x/data.pkl", pickled() if data is None else data)
        archive.writestr("x/data/0", VALUES.tobytes() if values is None else values)
        for name, value in more.items():
            archive.writestr(f"x/{name}", value)
    return file


def read(file):
    tensor = torch_save.look_into(file)
    rows = list(torch_save.rows(tensor, 2))
    whole = torch_save.whole(tensor, Memory(np.empty, 1 << 20))
    np.testing.assert_array_equal(np.concatenate([*rows, whole[:0]]), whole)
    return whole


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tensor_is_what_its_pickle_says(tmp_path, order):
    bytes_of = VALUES.astype(f"{order}f4").tobytes()
    more = {"byteorder": b"big"} if order == ">" else {}
    np.testing.assert_array_equal(read(save(tmp_path / "x", values=bytes_of, **more)), VALUES)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"shape": (2, 3, 4), "strides": (1, 2, 6)}, VALUES.transpose(2, 1, 0)),
        ({"shape": (2, 3, 2), "offset": 12}, VALUES[2:]),
        ({"shape": (5, 3, 2), "strides": (0, 2, 1)}, np.broadcast_to(VALUES[0], (5, 3, 2))),
        ({"shape": (4,), "strides": (6,), "offset": 5}, VALUES[:, 2, 1]),
        ({"shape": (0, 3, 2)}, VALUES[:0]),
        (
            {"storage": "HalfStorage", "shape": (2, 2), "strides": (2, 1)},
            VALUES.view(np.float16).ravel()[:4].reshape(2, 2),
        ),
    ],
    ids=["transposed", "offset", "expanded", "column", "empty", "half"],
)
def test_views_are_read_as_they_lie(tmp_path, changes, wanted):
    np.testing.assert_array_equal(read(save(tmp_path / "x", pickled(**changes))), wanted)


WRONG = {
    "a value beyond the memory": ({"shape": (5, 3, 2)}, "beyond their storage"),
    "an offset beyond the memory": ({"offset": 1}, "beyond their storage"),
    "a negative offset": ({"offset": -1}, "damaged: a tensor of shape"),
    "a negative length": ({"shape": (-4, 3, 2)}, "damaged: a tensor of shape"),
    "a negative stride": ({"strides": (-6, 2, 1)}, "damaged: a tensor of shape"),
    "fewer strides": ({"strides": (6, 2)}, "damaged: a tensor of shape"),
    "a huge length": ({"shape": (1 << 60, 3, 2), "strides": (0, 0, 0)}, "claims"),
    "a huge stride": ({"shape": (2, 3, 2), "strides": (1 << 62, 2, 1)}, "beyond their storage"),
    "nine axes": ({"shape": (1,) * 9, "strides": (1,) * 9}, "damaged: a tensor of shape"),
    "complex numbers": ({"storage": "ComplexFloatStorage"}, "expected a dense one of real numbers"),
    "another memory": ({"key": "1"}, "not a tensor written"),
    "a path as key": ({"key": "../data.pkl"}, "not a tensor written"),
    "negated values": ({"metadata": b"}" + text("neg") + b"\x88s"}, "with metadata"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_tensor_that_is_not_in_its_file_is_refused(tmp_path, case):
    changes, message = WRONG[case]
    with pytest.raises(ImageError, match=message) as caught:
        read(save(tmp_path / "x", pickled(**changes)))
    assert "\n" not in str(caught.value)


class Payload:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.mark.parametrize("value", ["alone", "within a list", "within hooks"])
def test_a_pickle_that_calls_anything_is_refused_and_runs_nothing(tmp_path, value):
    payload = Payload(tmp_path / "marker")
    made = {"alone": payload, "within a list": [1, payload], "within hooks": OrderedDict(a=payload)}[value]
    with pytest.raises(ImageError, match="x: contains Python objects other than tensors"):
        read(save(tmp_path / "x", pickle.dumps(made, 2)))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("made", [[1], {"a": 1}, 3, "text", None])
def test_what_is_no_tensor_is_named(tmp_path, made):
    with pytest.raises(ImageError, match=f"contains a {type(made).__name__}, expected one tensor"):
        read(save(tmp_path / "x", pickle.dumps(made, 2)))


def test_a_changed_byte_is_told_by_the_checksum(tmp_path):
    data = bytearray(save(tmp_path / "x").read_bytes())
    data[data.index(VALUES.tobytes()) + 7] ^= 1
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ImageError, match="Bad CRC-32"):
        read(tmp_path / "x")


def test_a_compressed_file_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ImageError, match="it is compressed; save it again"):
        read(save(tmp_path / "x", kind=zipfile.ZIP_DEFLATED))


def test_a_file_that_another_takes_the_place_of_is_refused(tmp_path):
    tensor = torch_save.look_into(save(tmp_path / "x"))
    save(tmp_path / "y", values=bytes(96)).replace(tmp_path / "x")
    for way in (lambda: list(torch_save.rows(tensor, 2)), lambda: torch_save.whole(tensor, Memory(np.empty, 0))):
        with pytest.raises(ImageError, match=re.escape(f"{tmp_path / 'x'}: the file was replaced or modified")):
            way()


def test_a_pickle_larger_than_a_tensor_s_is_not_read(tmp_path):
    with pytest.raises(ImageError, match="more than a few tensors"):
        read(save(tmp_path / "x", bytes(2 << 20)))


GOOD = io.BytesIO()
save(GOOD)
EDIT = st.tuples(st.integers(0, 1 << 20), st.integers(0, 4), st.binary(max_size=5))


def edited(data, edits):
    for place, removed, added in edits:
        place %= len(data) + 1
        data = data[:place] + added + data[place + removed :]
    return data


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(EDIT, min_size=1, max_size=5), within=st.booleans())
def test_a_file_with_random_changes_is_read_or_refused(tmp_path, edits, within):
    file = tmp_path / "x"
    if within:
        save(file, edited(pickled(), edits))
    else:
        file.write_bytes(edited(GOOD.getvalue(), edits))
    start = time.perf_counter()
    with contextlib.suppress(ClfError):
        read(file)
    assert time.perf_counter() - start < 60
