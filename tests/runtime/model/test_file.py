import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from clf_runtime import Classifier, ModelError
from clf_runtime.model.file import ModelHead, read_head, refuse_key_twice


def test_the_versions_are_those_that_the_file_is_stamped_with(tiny_file, tiny_model, tmp_path):
    assert read_head(tiny_file) == ModelHead(8, {"": 18})
    graph = helper.make_graph([], "g", [], [])
    opsets = [helper.make_opsetid("ai.onnx", 300), helper.make_opsetid("com.microsoft", 1)]
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=11).SerializeToString())
    assert read_head(tmp_path / "m.onnx") == ModelHead(11, {"": 300, "com.microsoft": 1})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        b"\x08\x08",  # an IR version and no opset
        b"\xff" * 20,  # a number without end
        b"\x08\x08\x42\xff\xff\xff\xff\x7f",  # an opset of 32 GiB
        b"\x08\x08\x42\x04\x0a\x7fab",  # a domain that is longer than its opset
        b"\x08\x08" + b"\x18\x01" * 20_000,  # fields without end
        b"\x08\x08\x0b",  # a group, which ONNX has not
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_model_is_one_line(tmp_path, data):
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="not an ONNX model") as raised:
        read_head(tmp_path / "m.onnx")
    assert "\n" not in str(raised.value)


def test_no_file_and_what_is_none(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, says in (
        (tmp_path / "x", "No such file"),
        (tmp_path / "fifo", "not a file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(ModelError, match=says):
            read_head(path)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_head_or_a_model_error(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("head") / "m.onnx"
    file.write_bytes(data)
    with contextlib.suppress(ModelError):
        assert read_head(file).ir_version > 0


def varint(number, width=0):
    data = bytearray()
    while number > 0x7F or len(data) + 1 < width:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(data) + bytes([number])


def field(number, payload, width=0):
    return varint(number << 3 | 2, width) + varint(len(payload), width) + payload


def entry(key, value=b"1", width=0):
    return field(14, field(1, key, width) + field(2, value, width), width)


@pytest.mark.parametrize(
    "entries",
    [
        entry(b"names") * 2,
        entry(b"names") + entry(b"other") + entry(b"names", b"2"),
        entry(b"names") + entry(b"names", width=5),  # the same numbers, written longer
        entry(b"names") + field(14, field(1, b"other") + field(2, b"2") + field(1, b"names")),  # the last key counts
        field(14, field(2, b"2")) * 2,  # the key is "", as it is where there is none
        entry(b"\xff") * 2,
        entry(b"k" * 100_000) * 2,
    ],
)
def test_a_key_that_is_there_twice_is_refused(tiny_model, entries):
    """onnxruntime gives the last of the two, another reader may give the first."""
    with pytest.raises(ModelError, match=r"m\.onnx: its metadata has the key .* twice") as raised:
        refuse_key_twice(tiny_model() + entries, "m.onnx")
    assert len(str(raised.value)) < 200
    refuse_key_twice(tiny_model() + entry(b"names2"), "m.onnx")


def test_the_classifier_looks_for_it(tiny_model):
    with pytest.raises(ModelError, match=r"m\.onnx: its metadata has the key 'clf_edge\.names' twice"):
        Classifier(tiny_model() + entry(b"clf_edge.names", b'["cat", "dog", "cow"]'), "m.onnx")


@given(st.binary(max_size=200))
def test_any_bytes_after_a_model_are_looked_through_or_a_model_error(tiny_model_bytes, data):
    with contextlib.suppress(ModelError):
        refuse_key_twice(tiny_model_bytes + data, "m.onnx")


@pytest.fixture(scope="module")
def tiny_model_bytes():
    return helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString()
