import io
import time
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from clf_runtime import ImageError
from clf_runtime.inputs.npy import read_data, read_header, read_rows

MOST = 1 << 20


def saved(array, version=None):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version, allow_pickle=True)
    return stream.getvalue()


def read(data):
    stream = io.BytesIO(data)
    return read_data(stream, read_header(stream, "x.npy"), "x.npy", MOST)


@given(st_numpy.arrays(st.sampled_from(["u1", "<f4", ">f8", "i2", "?"]), st_numpy.array_shapes(max_dims=4, max_side=5)))
def test_an_array_comes_back_as_it_was_saved(array):
    for data in (saved(array), saved(np.asfortranarray(array)), saved(array, (2, 0))):
        back = read(data)
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


def test_rows_come_in_blocks():
    array = np.arange(70, dtype=np.float32).reshape(7, 10)
    stream = io.BytesIO(saved(array))
    blocks = list(read_rows(stream, read_header(stream, "x"), "x", 3, MOST))
    assert [len(block) for block in blocks] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), array)


def test_a_pickle_is_never_loaded():

    array = np.empty(1, object)
    array[0] = 3
    with pytest.raises(ImageError, match="never loaded"):
        read(saved(array))


def header(text, version=b"\x01\x00"):
    body = text.encode("latin1")
    size = len(body).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUM",
        b"\x93NUMPY\x01",
        b"\x93NUMPY\x03\x00" + b"\x10\x00\x00\x00" + b" " * 16,
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (3,"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-3,), }\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (1.5,), }\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (True,), }\n"),
        header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (3,), }\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (10,) * 9}\n"),
        header("__import__('os').system('true')\n"),
        header("{'descr': ('|u1', (2,)), 'fortran_order': False, 'shape': (3,), }\n"),
        header("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (3,), }\n"),
        header("(" * 9000),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1, " * 20 + "), }\n"),
    ],
)
def test_a_damaged_header_is_refused(data):
    with pytest.raises(ImageError, match=r"x\.npy"):
        read(data)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2L, 3L), }\n",  # as Python 2 wrote it
        '{"shape": (2, 3), "descr": "u1", "fortran_order": False}',
        " {'shape':(2,3,),'fortran_order' : False,'descr':'|u1'} \n",
    ],
)
def test_a_header_is_a_dict_in_any_order_and_no_filter_of_warnings_is_touched(text):
    filters = warnings.filters.copy()
    stream = io.BytesIO(header(text))
    found = read_header(stream, "x")
    assert (found.shape, found.dtype, found.fortran_order, found.data_bytes) == ((2, 3), np.uint8, False, 6)
    assert warnings.filters == filters


@pytest.mark.parametrize(
    ("descr", "says"),
    [
        ("'|O'", "a pickle"),
        ("'O8'", "a pickle"),
        ("[('a', '<f4')]", "structured dtype"),
        ("('<f4', (2,))", "structured dtype"),
        ("'<M8[s]'", "values of dtype '<M8"),
        ("'|V9'", "values of dtype '.V9'"),
        ("'f4,f4'", "values of dtype 'f4,f4'"),
        ("'a5'", "values of dtype 'a5'"),
        ("'<f3'", "damaged .npy header: dtype '<f3'"),
        (r"'\x3cf4'", "damaged .npy header$"),
        ("None", "damaged .npy header$"),
    ],
)
def test_dtypes_of_anything_but_plain_numbers_and_texts_are_refused(descr, says):
    with pytest.raises(ImageError, match=f"^x.npy: .*{says}"):
        read(header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': (3,), }}\n"))


@pytest.mark.parametrize(
    "text",
    ["{'shape': (" + "1," * 4900, "{'shape': (" + "1" * 9900, "{'descr':" + " " * 9900, "{" + "'descr':'" * 1000],
)
def test_a_header_that_never_ends_takes_no_time(text):
    started = time.process_time()
    with pytest.raises(ImageError, match="damaged"):
        read(header(text))
    assert time.process_time() - started < 20


def test_a_terabyte_is_refused_before_memory_is_taken():
    with pytest.raises(ImageError, match="1,099,511,627,776"):
        read(header("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }\n"))


def test_data_that_is_cut_short_is_refused():
    with pytest.raises(ImageError, match="truncated: 1 bytes"):
        read(saved(np.zeros(9, np.uint8))[:-1])


@given(st.data())
def test_no_damage_raises_anything_else(data):
    good = bytearray(saved(np.zeros((2, 3), np.float32)))
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(good[: data.draw(st.integers(0, len(good)))]))
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017
