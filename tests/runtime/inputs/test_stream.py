import io
import json
import os
import re
import select
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clf_runtime import Classifier, ClfError, ImageError, ModelCard, answer_stream
from clf_runtime.inputs.stream import MAX_LINE_BYTES, Records, read_paths

RED = np.zeros((3, 8, 8), np.uint8)
RED[0] = 200
BLUE = RED[::-1].copy()
CARD = ModelCard("m", ("red", "green", "blue"), (3, 8, 8), "uint8", (0.0, 255.0))
START = b"\x93NUMPY"


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped():
    stream = io.BytesIO()
    np.savez(stream, np.random.default_rng(0).integers(0, 256, 9000, np.uint8))
    return stream.getvalue()


@pytest.fixture
def classifier(tiny_model):
    return Classifier(tiny_model(), "tiny")


class AlwaysRed(Classifier):
    """A classifier that needs no model."""

    def __init__(self):
        self.card, self.provider, self.sha256, self.notes = CARD, "none", "0" * 64, ()

    def probabilities(self, batch):
        return np.tile(np.array([[1, 0, 0]], np.float32), (len(batch), 1))


def answered(classifier, data, **options):
    return [
        (a.image, a.index, a.prediction.name if a.prediction else str(a.error))
        for a in answer_stream(classifier, io.BytesIO(data), **options)
    ]


def names(classifier, data):
    return [name.split(":")[0] if ":" in name else name for _, _, name in answered(classifier, data)]


def test_records_are_numbered_and_batches_within_them(classifier):
    data = npy(RED) + npy(np.stack([BLUE, RED])) + npy(BLUE.transpose(1, 2, 0)) + npy(np.asfortranarray(RED))
    assert answered(classifier, data) == [
        ("-[0]", None, "red"),
        ("-[1]", 0, "blue"),
        ("-[1]", 1, "red"),
        ("-[2]", None, "blue"),
        ("-[3]", None, "red"),
    ]


def test_a_large_batch_comes_in_blocks(classifier):
    batch = np.stack([RED, BLUE] * 300)
    assert [name for _, _, name in answered(classifier, npy(batch) + npy(RED))] == ["red", "blue"] * 300 + ["red"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (npy(np.zeros((4, 4), np.uint8)), "shape 4x4"),
        (npy(RED.astype(np.float32)), "floats outside 0..1"),
        (npy(np.full((3, 8, 8), np.nan)), "NaN"),
        (npy(RED.astype("U3")), "dtype <U3"),
        (npy(RED)[:-6], "truncated: 6 bytes"),
        (npy(RED)[:-191], "truncated: 191 bytes"),
        (npy(RED)[:128], "truncated: 192 bytes"),
        (npy(RED)[:100], "damaged .npy header"),
        (npy(RED)[:9], "damaged .npy"),
        (npy(RED)[:6], "version 147.78"),
        (npy(np.stack([RED] * 4))[:-200], "truncated: 200 bytes"),
        (npy(RED).replace(b"(3, 8, 8)", b"(3, 8, x)"), "damaged .npy header"),
        (npy(RED).replace(b"(3, 8, 8), }     ", b"(99999999,3,8,8)}"), "truncated"),
        (npy(RED).replace(b"(3, 8, 8), }         ", b"(9999999999999,3,8,8)"), "truncated|damaged"),
        (START + b"\x02\0\xff\xff\xff\xff", "a header of 4,294,967,295 bytes"),
        (b"garbage", "not a .npy"),
    ],
)
def test_a_bad_record_costs_itself_only(classifier, bad, says):
    found = answered(classifier, npy(RED) + bad + npy(BLUE) + npy(RED))
    errors = [name for _, _, name in found if name not in ("red", "blue")]
    assert [name for _, _, name in found if name not in errors] == ["red", "blue", "red"]
    assert len(errors) == 1
    assert errors[0].startswith("-[1]: ")
    assert re.search(says, errors[0])


@pytest.mark.parametrize("lost", [1, 3, 5])
def test_a_record_that_lost_less_than_a_start_is_called_out_by_the_next(classifier, lost):
    """It ends in the first bytes of the next record's start: it is answered, and the error says what that is worth."""
    found = answered(classifier, npy(RED) + npy(RED)[:-lost] + npy(BLUE) + npy(RED))
    assert [name for _, _, name in found[3:]] == ["blue", "red"]
    assert found[2][2] == "-[2]: the previous record was truncated: its prediction is invalid"


def test_a_start_across_two_blocks_is_found(classifier):
    batch = npy(np.stack([RED] * 300))
    for keep in range(-4, 4):
        cut = len(batch) - 44 * 192 + keep
        assert names(classifier, batch[:cut] + npy(BLUE))[-1] == "blue"


def test_nothing_is_one_error(classifier):
    [(image, index, error)] = answered(classifier, b"")
    assert (image, index) == ("-", None)
    assert error == "standard input: is empty; expected .npy records, a picture, or paths"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "BMP", "GIF", "TIFF", "PPM"])
def test_one_picture_is_answered(classifier, kind):
    image = pytest.importorskip("PIL.Image")
    data = io.BytesIO()
    image.fromarray(np.full((50, 40, 3), (200, 0, 0), np.uint8)).save(data, kind)
    assert answered(classifier, data.getvalue()) == [("-", None, "red")]


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\0\1\2\0WEBPVP8 " + b"\n\0" * 90,
        b"BM\n\x28\0\0\0\0\0\0" + b"\n\0" * 90,
        b"GIF89a\x08\0\x08\0" + b"\n" * 90,
        b"P6\n8 8\n255\n" + bytes(range(32)) * 2,
    ],
)
def test_a_damaged_picture_is_one_error(classifier, data):
    pytest.importorskip("PIL")
    [(image, index, error)] = answered(classifier, data)
    assert (image, index) == ("-", None)
    assert error.startswith("standard input: cannot be decoded: ")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (zipped(), "an .npz or another zip archive"),
        (b"\x08\x08:" + b"\nonnx\0" * 90, "binary data"),
        (b"\x1f\x8b\x08\0" + b"x\n" * 900, "binary data"),
        (b"\0\0\0\x18ftypavif" + b"\n" * 90, "binary data"),
        (b"\x89HDF\r\n\x1a\n" + b"\n" * 90, "binary data"),
        ("none.npy\n".encode("utf-16") * 90, "text in UTF-16"),
        ("none.npy\n".encode("utf-16-le") * 90, "binary data"),
    ],
)
def test_a_stream_of_anything_else_is_one_error(classifier, data, says):
    [(image, index, error)] = answered(classifier, data)
    assert (image, index) == ("-", None)
    assert error.startswith(f"standard input: holds {says}")
    assert error.endswith("; expected .npy records, one picture, or paths of files, one per line")


def test_a_stream_of_text_is_one_error(classifier):
    [answer] = answer_stream(classifier, io.StringIO("x.npy"))
    assert str(answer.error) == "expected a stream of bytes, such as sys.stdin.buffer, not of text"


def test_a_path_may_have_any_name_that_a_file_has(classifier, tmp_path):
    for name in ("a\x01.npy", "PK.npy", "BM"):
        np.save(tmp_path / "x.npy", RED)
        (tmp_path / "x.npy").rename(tmp_path / name)
        assert answered(classifier, bytes(tmp_path / name)) == [(str(tmp_path / name), None, "red")]


def test_lines_are_paths_and_bad_ones_do_not_stop_the_rest(classifier, tmp_path):
    red, blue = tmp_path / "red.npy", tmp_path / "blü.npy"
    np.save(red, np.stack([RED, RED]))
    np.save(blue, BLUE)
    lines = [
        bytes(red),
        b"",
        os.fsencode(blue) + b"\r",
        b"none.npy",
        b"a\0b",
        b"x" * 9000,
        b"\xff.npy",
        b"-",
        bytes(red),
    ]
    found = answered(classifier, b"\n".join(lines))
    assert [(image, index) for image, index, _ in found[:3]] == [(str(red), 0), (str(red), 1), (str(blue), None)]
    assert [name for _, _, name in found[:3]] == ["red", "red", "blue"]
    assert [error.split(": ")[1][:20] for _, _, error in found[3:8]] == [
        "cannot be read",
        "line 5 is neither a ",
        "line 6 exceeds the l",
        "cannot be read",
        "cannot be read",
    ]
    assert [name for _, _, name in found[8:]] == ["red", "red"]


@given(st.binary(max_size=200), st.integers(0, 3))
def test_every_line_comes_once_whatever_it_holds(data, taken):
    taken = min(taken, 1, len(data))
    stream = io.BytesIO(data)
    first = stream.read(taken)
    paths = list(read_paths(stream, first))
    wanted = [line.rstrip(b"\r\n") for line in data.split(b"\n")]
    assert [os.fsencode(p) if isinstance(p, str) else None for p in paths] == [
        None if b"\0" in line else line for line in wanted if line
    ]


@pytest.mark.parametrize("size", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES])
def test_a_line_is_bounded_to_the_byte(size):
    found = list(read_paths(io.BytesIO(b"x" * size + b"\nnext")))
    assert isinstance(found[0], ImageError) == (size >= MAX_LINE_BYTES)
    assert found[1:] == ["next"]


GOOD = [npy(RED), npy(BLUE), npy(np.stack([RED, BLUE])), npy(RED / 255.0)]


@given(st.lists(st.tuples(st.sampled_from(GOOD), st.integers(0, 400) | st.none()), max_size=6))
def test_of_records_that_were_cut_anywhere_the_whole_ones_are_all_read(records):
    stream = b"".join(record[:cut] for record, cut in records)
    whole = [record for record, cut in records if cut is None or cut >= len(record)]
    reader, is_lost, found = Records(io.BytesIO(stream)), False, []
    while reader.seek_start() if is_lost else reader.more():
        is_lost = False
        try:
            found.append(np.concatenate([block.ravel() for _, block in reader.next(CARD, "x")]))
        except ClfError:
            is_lost = True
    wanted = [np.load(io.BytesIO(record)).ravel() for record in whole]
    kept = iter(found)
    assert all(any(np.array_equal(array, other) for other in kept) for array in wanted)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_end_in_answers(data, is_npy):
    answers = list(answer_stream(AlwaysRed(), io.BytesIO(START[: is_npy * 6] + data)))
    assert answers
    for answer in answers:
        assert (answer.error is None) != (answer.prediction is None)
        assert "\n" not in str(answer.error)


@pytest.fixture
def live(tiny_file):
    """A `clf-predict - --json` with a pipe that stays open: write to it and wait for a line, or for some seconds."""
    with subprocess.Popen(
        [sys.executable, "-m", "clf_runtime", "-", "--json", "--model", tiny_file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        came = bytearray()

        def ask(data, seconds=120.0):
            process.stdin.write(data)
            process.stdin.flush()
            while b"\n" not in came:
                if not select.select([process.stdout], [], [], seconds)[0]:
                    return None
                came.extend(os.read(process.stdout.fileno(), 1 << 16))
            line, _, rest = bytes(came).partition(b"\n")
            came[:] = rest
            record = json.loads(line)
            return record["name"] or record["error"]

        ask.process = process
        yield ask
        process.kill()


def test_a_record_is_answered_at_once_while_the_pipe_stays_open(live):
    assert live(npy(RED)) == "red"
    assert live(npy(BLUE)[:200], seconds=0.2) is None
    assert live(npy(BLUE)[200:]) == "blue"
    assert live(npy(np.zeros((4, 4)))).startswith("-[2]: shape 4x4")
    assert live(npy(RED)[:-20] + npy(BLUE)).startswith("-[3]: truncated")
    assert live(b"") == "blue"
    live.process.stdin.close()
    assert live.process.wait(20) == 2


def test_a_path_is_answered_at_once_while_the_pipe_stays_open(live, tmp_path):
    np.save(tmp_path / "x.npy", RED)
    for _ in range(2):
        assert live(bytes(tmp_path / "x.npy") + b"\n") == "red"
    live.process.stdin.close()
    assert live.process.wait(20) == 0


def test_an_interrupted_stream_ends_with_one_line(live):
    assert live(npy(RED)) == "red"
    live.process.send_signal(signal.SIGINT)
    assert live.process.wait(20) == 130
    assert live.process.stderr.read().splitlines()[-1] == b"clf-predict: interrupted"


def test_a_reader_that_goes_away_ends_the_stream_quietly(live):
    assert live(npy(RED)) == "red"
    live.process.stdout.close()
    live.process.stdin.write(npy(RED))
    live.process.stdin.close()
    assert live.process.wait(20) == 0
    assert b"Traceback" not in live.process.stderr.read()
