"""What is made to hurt: the outcome is an answer or an error of one line, in memory that is bounded beforehand.

The limits are those of docs/hostile-input.md. What a fuzzer found is here too (see tests/fuzz).
"""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clf_runtime import Classifier, ClfError, ImageError, ModelCard, ModelError
from clf_runtime.bounded import open_regular
from clf_runtime.inputs.files import read_images
from clf_runtime.model.metadata import PREFIX, from_metadata, to_metadata

CARD = ModelCard("m", ("red", "green", "blue"), (3, 8, 8), "uint8", (0.0, 255.0))
RED = np.zeros((3, 8, 8), np.uint8)
RED[0] = 200
LIMIT = 768 << 20  # bytes beyond the loaded model
ARRAY_LIMIT = 384 << 20  # where there are no pictures

# Reads everything in a folder with that much memory more than it has when the model is loaded.
CHILD = """
import resource, sys
import clf_runtime, PIL.Image, PIL.PngImagePlugin, PIL.JpegImagePlugin
from clf_runtime.inputs import npz, parallel, stream
classifier = clf_runtime.Classifier.load(sys.argv[1])
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]), size + int(sys.argv[2])))
for name in sys.argv[4:]:
    if name == "-":
        answers = clf_runtime.answer_stream(classifier, sys.stdin.buffer)
    else:
        answers = clf_runtime.answer_files(classifier, [name], threads=int(sys.argv[3]))
    count, error = 0, None
    for answer in answers:
        count, error = count + 1, error or answer.error
    print(count, error)
"""


def in_bounds(model, *names, limit=LIMIT, stdin=None, threads=1):
    """The outcome of each file, read by a child whose memory is limited: how many answers, and the first error."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, model, str(limit), str(threads), *map(str, names)],
        input=stdin,
        capture_output=True,
        env=os.environ | {"MALLOC_ARENA_MAX": "1"}
        if threads > 1
        else None,  # or glibc keeps freed memory for each thread
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def npy(shape, descr="|u1", fortran=False, data=b"", version=(1, 0)):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2 * version[0], "little") + text + data


def png(width, height, kind=2, depth=8, pixels=b"", more=b""):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + more
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def bombs(tmp_path):
    """Files that claim to be large, or are small and become large, and what is said of each."""
    folder = tmp_path / "bombs"
    folder.mkdir()
    sparse = npy((1 << 31, 3, 8, 8), fortran=True)
    with (folder / "fortran.npy").open("wb") as file:  # as large as it says, and empty on the disk
        file.write(sparse)
        file.truncate(len(sparse) + (192 << 31))
    with zipfile.ZipFile(folder / "deflated.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy((1 << 22, 3, 8, 8), "<f8") + bytes(64 << 20))
    with zipfile.ZipFile(folder / "header.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(64 << 20))
    zlib_bomb = b"x\0\0" + zlib.compress(bytes(64 << 20))
    text = struct.pack(">I", len(zlib_bomb)) + b"zTXt" + zlib_bomb + struct.pack(">I", zlib.crc32(b"zTXt" + zlib_bomb))
    made = {
        "terabyte.npy": (npy((1 << 32, 3, 8, 8)), "truncated"),
        "header.npy": (b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(100), "a header of 4,294,967,295 bytes"),
        "overflow.npy": (npy((1 << 62, 3, 8, 8)), "damaged"),
        "letters.npy": (npy((3, 8, 8), "<U99999999"), "dtype <U99999999"),
        "pickle.npy": (npy((3, 8, 8), "|O", data=b"cos\nsystem\n(S'true'\ntR."), "never loaded"),
        "wide.png": (png(1 << 30, 1), "1,073,741,824 pixels|too many pixels"),
        "square.png": (png(32_000, 32_000), "pixels"),
        "empty.png": (png(4_000, 4_000, 6), "cannot be decoded"),
        "text.png": (png(8, 8, pixels=bytes(8 * 25), more=text), "None|cannot be decoded"),
        "fortran.npy": (None, "412,316,860,416 bytes exceeds the limit of"),
        "deflated.npz": (None, "its header says"),
        "header.npz": (None, "a header of 4,294,967,295 bytes"),
    }
    for name, (data, _) in made.items():
        if data is not None:
            (folder / name).write_bytes(data)
    return {folder / name: says for name, (_, says) in made.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_bombs_are_refused_within_the_limit(tiny_file, bombs):
    for line, (file, says) in zip(in_bounds(tiny_file, *bombs, limit=128 << 20), bombs.items(), strict=True):
        assert any(part in line for part in says.split("|")), f"{file}: {line}"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_the_largest_picture_is_read_within_the_limit(tiny_file, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned, which takes a copy
    worst = Image.new("CMYK", (7_000, 7_100), (0, 255, 255, 40))
    worst.save(tmp_path / "large.jpg", exif=exif, progressive=True, subsampling=0)
    assert in_bounds(tiny_file, tmp_path / "large.jpg") == ["1 None"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_threads_decode_large_pictures_within_the_limit_of_one(tiny_file, tmp_path):
    from PIL import Image

    folder = tmp_path / "large"
    folder.mkdir()
    Image.new("RGB", (7_000, 7_100), "red").save(folder / "0.png", compress_level=1)  # 190 MiB in Pillow
    for i in range(1, 4):
        os.link(folder / "0.png", folder / f"{i}.png")
    assert in_bounds(tiny_file, folder, threads=4, limit=480 << 20) == ["4 None"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_large_batches_are_read_within_the_limit(tiny_file, tmp_path):
    np.savez_compressed(tmp_path / "x.npz", np.broadcast_to(RED, (100_000, 3, 8, 8)))
    stream = npy((100_000, 3, 8, 8), data=RED.tobytes() * 100_000) + npy((3, 8, 8), data=RED.tobytes())
    assert in_bounds(tiny_file, tmp_path / "x.npz", "-", stdin=stream, limit=48 << 20) == ["100000 None", "100001 None"]
    fortran = npy((170_000, 3, 8, 8), "<f8", fortran=True)
    with (tmp_path / "f.npy").open("wb") as file:
        file.write(fortran)
        file.truncate(len(fortran) + 170_000 * 192 * 8)
    assert in_bounds(tiny_file, tmp_path / "f.npy", limit=ARRAY_LIMIT) == ["170000 None"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_endless_streams_take_no_memory(tiny_file):
    for data in (b"x" * (40 << 20), b"\x93NUMPY" * 30_000, npy((1 << 40, 3, 8)) + bytes(40 << 20)):
        [line] = in_bounds(tiny_file, "-", limit=24 << 20, stdin=data)
        assert "None" not in line


def no_memory(stream, where):
    raise MemoryError


def test_too_little_memory_is_an_error_of_the_image_and_the_rest_goes_on(tiny_model, monkeypatch, tmp_path):
    from clf_runtime import answer_files
    from clf_runtime.inputs import files as images

    np.save(tmp_path / "x.npy", RED)
    readers = [images.read_header, no_memory]
    monkeypatch.setattr(images, "read_header", lambda stream, where: readers.pop()(stream, where))
    answers = list(answer_files(Classifier(tiny_model(), "m"), [tmp_path / "x.npy"] * 2))
    assert str(answers[0].error) == f"{tmp_path}/x.npy: not enough memory"
    assert answers[1].prediction.name == "red"


@pytest.mark.parametrize(
    ("name", "save", "says"), [("x.npy", np.save, "truncated"), ("x.npz", np.savez, "damaged|truncated")]
)
def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path, name, save, says):
    save(tmp_path / name, np.stack([RED] * 80_000))  # more than is held at once
    blocks = read_images(tmp_path / name, CARD)
    next(blocks)
    os.truncate(tmp_path / name, 300_000)
    with pytest.raises(ImageError, match=says):
        list(blocks)


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    for path in (tmp_path / "x.npy", "/dev/null", tmp_path):
        with pytest.raises(OSError, match=r"not a file|directory"):
            open_regular(path)


def test_a_file_that_vanishes_while_it_is_read_is_read_to_its_end(tmp_path):
    np.save(tmp_path / "x.npy", np.stack([RED] * 1000))
    blocks = read_images(tmp_path / "x.npy", CARD)
    next(blocks)
    (tmp_path / "x.npy").unlink()
    assert sum(len(block) for _, block in blocks) == 1000 - 256


def test_a_file_that_others_write_to_all_the_time_gives_answers_or_errors(tiny_model, tmp_path):
    """Each answer is one of an image that was there in whole."""
    classifier = Classifier(tiny_model(), "m")
    file = tmp_path / "x.npy"
    data = {name: io.BytesIO() for name in ("red", "blue")}
    np.save(data["red"], RED)
    np.save(data["blue"], RED[::-1])
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for stream in data.values():
                file.write_bytes(stream.getvalue())
            file.unlink()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found, end = set(), time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                found.add(classifier.predict(file).name)
            except ImageError as error:
                assert "\n" not in str(error)  # noqa: PT017
    finally:
        stop.set()
        thread.join()
    assert found <= {"red", "blue"}


@pytest.mark.parametrize("kind", ["dicts", "one key", "every key"])
def test_a_card_that_would_parse_into_gigabytes_is_refused(kind):
    text = "[" + "{}," * 2_000_000 + "{}]"
    keys = [key for key in to_metadata(CARD) if key.startswith(PREFIX) and not key.endswith("schema")]
    values = {"dicts": {PREFIX + "names": text * 2}, "one key": {PREFIX + "run": '"' + "x" * 7_000_000 + '"'}}
    values["every key"] = dict.fromkeys(keys, text[:600_000])
    with pytest.raises(ModelError, match="the model's card is too large"):
        from_metadata({**to_metadata(CARD), **values[kind]})


@pytest.mark.parametrize("text", ["1," * 600_000, "[" + "[]," * 100_000 + "]x", "{0: '" + "x" * 300_000 + "'}"])
def test_class_names_that_would_parse_into_gigabytes_are_left(tiny_model, text):
    started = time.process_time()
    classifier = Classifier(tiny_model(card=None, metadata={"names": text}), "m")
    assert classifier.card.names == ("0", "1", "2")
    assert time.process_time() - started < 20


@pytest.mark.parametrize("place", ["metadata", "input", "axis"])
def test_a_model_whose_text_is_not_utf_8_is_one_line(tiny_model, place):
    """Found by the fuzzer: onnxruntime decodes these only when they are asked for."""
    what = {"metadata": b"zzzzzz", "input": b"image", "axis": b"batch"}[place]
    model = tiny_model(card=None, metadata={"zzzzzz": "zzzzzz"})
    assert what in model
    with pytest.raises(ModelError, match=r"m\.onnx: its names or its metadata are not UTF-8|not an ONNX model"):
        Classifier(model.replace(what, b"\xff\xfe" + what[2:]), "m.onnx")


@pytest.mark.parametrize("card", ["own", None])
def test_a_model_without_an_output_is_refused(tiny_model, card):
    """Found by the fuzzer."""
    model = onnx.load_from_string(tiny_model(card=card))
    del model.graph.output[:]
    with pytest.raises(ModelError, match=r"no output|its graph gives nothing"):
        Classifier(model.SerializeToString(), "m")


def test_a_file_in_the_format_of_onnxruntime_s_own_is_refused(tiny_file, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(tiny_file, options, providers=["CPUExecutionProvider"])
    with pytest.raises(ModelError, match=r"m\.ort: not an ONNX model"):
        Classifier.load(tmp_path / "m.ort")


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret", "*/_ORT_MEM_ADDR_/*", "w.bin", ""])
def test_external_data_is_refused_wherever_it_points(tiny_model, location):
    model = onnx.load_from_string(tiny_model())
    [gain] = [tensor for tensor in model.graph.initializer if tensor.name == "gain"]
    gain.ClearField("raw_data")
    gain.data_location = onnx.TensorProto.EXTERNAL
    gain.external_data.add(key="offset", value="0")
    gain.external_data.add(key="location", value=location)
    with pytest.raises(ModelError, match="external data"):
        Classifier(model.SerializeToString(), "m")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted(key for key in to_metadata(CARD) if key.startswith(PREFIX))


@given(st.dictionaries(st.sampled_from(FIELDS), JSON.map(json.dumps) | st.text(max_size=20), min_size=1, max_size=4))
def test_any_card_is_read_as_it_will_be_written_or_refused_in_one_line(values):
    try:
        card = from_metadata({**to_metadata(CARD), **values})
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert len(str(error)) < 400  # noqa: PT017
    else:
        assert from_metadata(to_metadata(card)) == card


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_to_a_model_is_anything_but_an_answer_or_one_line(tiny_model, data):
    model = bytearray(tiny_model())
    for _ in range(data.draw(st.integers(1, 4))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    try:
        prediction = Classifier(bytes(model), "m").predict(RED)
    except ClfError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert 0 <= prediction.probability <= 1
