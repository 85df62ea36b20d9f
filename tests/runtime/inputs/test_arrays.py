import dataclasses
import io
import struct
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from clf_runtime import ImageError, ModelCard
from clf_runtime.inputs.arrays import to_batch
from clf_runtime.inputs.files import read_images
from clf_runtime.inputs.npy import read_header
from clf_runtime.inputs.pictures import decode_picture

UINT8 = ModelCard("m", ("a", "b"), (3, 4, 5), "uint8", (0.0, 255.0))
UNIT = dataclasses.replace(UINT8, dtype="float32", value_range=(0.0, 1.0))
BYTES = dataclasses.replace(UINT8, dtype="float32", value_range=(0.0, 255.0))
SIGNED = dataclasses.replace(UINT8, dtype="float32", value_range=(-1.0, 1.0))
SEEN = dataclasses.replace(UINT8, dtype="float32", value_range=(-2.0, 3.0))
GREY = dataclasses.replace(UINT8, image_shape=(1, 4, 5))

CHW = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
UNIT_CHW = CHW.astype(np.float32) / 255


@pytest.mark.parametrize(
    "images",
    [CHW, CHW.transpose(1, 2, 0), CHW[None], CHW.transpose(1, 2, 0)[None], np.asfortranarray(CHW)],
    ids=["CHW", "HWC", "NCHW", "NHWC", "fortran"],
)
def test_either_layout_makes_the_same_batch(images):
    batch = to_batch(images, UINT8)
    np.testing.assert_array_equal(batch, CHW[None])
    assert batch.flags.c_contiguous


def test_a_model_of_nhwc_gets_nhwc():
    batch = to_batch(CHW, dataclasses.replace(UINT8, layout="NHWC"))
    np.testing.assert_array_equal(batch, CHW.transpose(1, 2, 0)[None])


@pytest.mark.parametrize(
    ("shape", "count"),
    [((4, 5), 1), ((1, 4, 5), 1), ((4, 5, 1), 1), ((7, 4, 5), 7), ((7, 1, 4, 5), 7), ((7, 4, 5, 1), 7)],
)
def test_grey_images_need_no_channel_axis(shape, count):
    assert to_batch(np.zeros(shape, np.uint8), GREY).shape == (count, 1, 4, 5)


@pytest.mark.parametrize(
    ("image", "card", "expected"),
    [
        (CHW, UINT8, CHW),
        (CHW.astype(np.int64), UINT8, CHW),
        (UNIT_CHW, UINT8, CHW),
        (UNIT_CHW.astype(np.float64), UINT8, CHW),
        (UNIT_CHW.astype(np.float16), UINT8, CHW),
        (CHW, UNIT, UNIT_CHW),
        (UNIT_CHW, UNIT, UNIT_CHW),
        (CHW, BYTES, CHW.astype(np.float32)),
        (CHW.astype(np.float32), BYTES, CHW.astype(np.float32)),
        (np.zeros_like(UNIT_CHW), BYTES, np.zeros_like(UNIT_CHW)),
        (UNIT_CHW - 0.5, SIGNED, UNIT_CHW - 0.5),
        (UNIT_CHW + 3, SEEN, UNIT_CHW + 3),
    ],
    ids=lambda v: "" if isinstance(v, ModelCard) else f"{v.dtype}",
)
def test_what_is_known_to_be_meant_is_converted(image, card, expected):
    batch = to_batch(image, card)
    assert batch.dtype == card.dtype
    np.testing.assert_array_equal(batch[0], expected)


@pytest.mark.parametrize(
    ("image", "card", "says"),
    [
        (CHW.astype(np.float32), UINT8, "floats outside 0..1"),
        (CHW.astype(np.float32), UNIT, "outside the model's range"),
        (UNIT_CHW - 0.5, UNIT, "outside the model's range"),
        (UNIT_CHW - 0.5, UINT8, "floats outside 0..1"),
        (UNIT_CHW, BYTES, "scaled to 0..1"),
        (CHW, SIGNED, "the model expects float32 in -1..1"),
        (CHW, SEEN, "the model expects float32 in -2..3"),
        (UNIT_CHW + 5, SEEN, "outside the model's range"),
        (CHW.astype(np.int32) * 10, UINT8, "outside 0..255"),
        (CHW.astype(np.int32) - 1, UNIT, "outside 0..255"),
        (np.full_like(UNIT_CHW, np.nan), UINT8, "NaN"),
        (np.full_like(UNIT_CHW, np.inf), UNIT, "NaN or infinite"),
        (CHW > 3, UINT8, "dtype bool"),
        (CHW.astype(complex), UINT8, "dtype complex128"),
        (CHW.astype("U"), UINT8, "dtype <U"),
    ],
)
def test_what_could_be_a_mistake_is_refused_with_what_the_model_wants(image, card, says):
    with pytest.raises(ImageError, match=r"^pic: ") as error:
        to_batch(image, card, "pic")
    assert says in str(error.value)
    assert f"the model expects {card.dtype}" in str(error.value)


def test_one_bad_image_of_a_batch_is_named():
    batch = np.stack([UNIT_CHW] * 5)
    batch[3, 1, 1, 1] = np.nan
    with pytest.raises(ImageError, match=r"pic\[3\]: a value that is NaN"):
        to_batch(batch, UNIT, "pic")


@pytest.mark.parametrize(
    "shape", [(), (3,), (4, 5), (3, 5, 4), (3, 4, 5, 1), (2, 3, 5, 4), (1, 1, 3, 4, 5), (0, 3, 5, 4)]
)
def test_another_shape_is_refused_with_the_one_that_is_wanted(shape):
    with pytest.raises(ImageError, match="3x4x5"):
        to_batch(np.zeros(shape, np.uint8), UINT8)


def write(path, array):
    np.save(path, array)
    return path


def test_a_file_of_one_image_has_no_index_and_a_batch_has(tmp_path):
    [(index, image)] = read_images(write(tmp_path / "one.npy", CHW), UINT8)
    assert index is None
    np.testing.assert_array_equal(image, CHW)
    many = np.stack([CHW] * 600)
    blocks = list(read_images(write(tmp_path / "many.npy", many), UINT8))
    assert [index for index, _ in blocks] == [0, 256, 512]
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), many)


def test_a_batch_in_fortran_order_is_read(tmp_path):
    many = np.asfortranarray(np.arange(600, dtype=np.uint8).reshape(10, 3, 4, 5) % 251)
    [(index, block)] = read_images(write(tmp_path / "f.npy", many), UINT8)
    assert index == 0
    np.testing.assert_array_equal(block, many)


def test_a_file_that_is_cut_short_or_too_long_is_refused_before_it_is_read(tmp_path):
    file = write(tmp_path / "x.npy", CHW)
    data = file.read_bytes()
    file.write_bytes(data[:-3])
    with pytest.raises(ImageError, match="truncated: 3 bytes"):
        list(read_images(file, UINT8))
    file.write_bytes(data + b"12")
    with pytest.raises(ImageError, match="2 bytes more"):
        list(read_images(file, UINT8))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"not an image", b"PK\x03\x04"])
def test_what_is_neither_array_nor_picture_is_refused(tmp_path, content):
    file = tmp_path / "x.npy"
    file.write_bytes(content)
    with pytest.raises(ImageError, match="neither"):
        list(read_images(file, UINT8))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ImageError, match="No such file"):
        list(read_images(tmp_path / "none.npy", UINT8))
    with pytest.raises(ImageError, match="a directory"):
        list(read_images(tmp_path, UINT8))


def picture(array, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


NPY = b"\x93NUMPY\1\0\x3c\0{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4, 5)}  "
HWC = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_orientation_is_that_which_pillow_reads(kind, orientation, order):
    exif = Image.Exif()
    exif.endian = order
    exif[0x010E], exif[0x0112] = "words before it", orientation
    data = picture(HWC, kind, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(decode_picture(data, "x", 3), np.asarray(ImageOps.exif_transpose(opened)))


def test_damaged_exif_is_no_damage_to_the_picture_and_no_thread_hears_of_it():
    """Pillow warns of it, which is an error here; with the filters of warnings changed, other threads lost theirs."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 3, 72.0
    data = picture(HWC, "JPEG", exif=exif)
    good = decode_picture(data, "x", 3)
    at = data.index(b"Exif") + 6
    for damaged in (
        data[: at + 8] + b"\x09\x09" + data[at + 10 :],  # its count of entries
        picture(HWC, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09"),
    ):
        for _ in range(2):
            assert decode_picture(damaged, "x", 3).shape == (4, 5, 3)
    filters, failures = warnings.filters.copy(), []

    def work():
        try:
            for _ in range(50):
                np.testing.assert_array_equal(decode_picture(data, "x", 3), good)
                read_header(io.BytesIO(NPY), "x")
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert warnings.filters == filters


def test_alpha_in_a_palette_is_dropped_without_a_warning():
    stream = io.BytesIO()
    Image.fromarray(HWC).convert("P").save(stream, "PNG", transparency=bytes(range(200)))
    assert decode_picture(stream.getvalue(), "x", 3).shape == (4, 5, 3)


def test_a_picture_s_axes_are_not_guessed(tmp_path):
    """Its channels come last, and first where both fit, as they do for a model of 3x3x3."""
    cubic = dataclasses.replace(UINT8, image_shape=(3, 3, 3))
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    (tmp_path / "x.png").write_bytes(picture(pixels))
    [(_, image)] = read_images(tmp_path / "x.png", cubic)
    np.testing.assert_array_equal(to_batch(image, cubic)[0], pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(to_batch(Image.fromarray(pixels), cubic)[0], pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(to_batch(pixels, cubic)[0], pixels)


def test_a_png_comes_upright_in_rgb():
    np.testing.assert_array_equal(decode_picture(picture(HWC), "x", 3), HWC)


def test_a_jpeg_comes_close():
    smooth = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    assert np.abs(decode_picture(picture(smooth, "JPEG", quality=95), "x", 3).astype(int) - smooth).max() <= 4


def test_the_camera_s_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it 90 degrees clockwise
    np.testing.assert_array_equal(decode_picture(picture(HWC, exif=exif), "x", 3), np.rot90(HWC, -1))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_other_kinds_of_picture_become_rgb(mode):
    stream = io.BytesIO()
    Image.fromarray(HWC).convert(mode).save(stream, "PNG")
    assert decode_picture(stream.getvalue(), "x", 3).shape == (4, 5, 3)


def test_a_picture_is_scaled_to_the_model_s_size(tmp_path):
    file = tmp_path / "big.png"
    big = HWC.repeat(8, axis=0).repeat(8, axis=1)
    file.write_bytes(picture(big))
    [(index, image)] = read_images(file, UINT8)
    assert index is None
    assert image.shape == (3, 4, 5)
    assert np.abs(image.transpose(1, 2, 0).astype(int) - HWC).mean() < 40


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png_header(30_000, 30_000), "pixels"),
        (png_header(10_000, 6_000), "60,000,000 pixels"),
        (png_header(12_000, 9_000), "108,000,000 pixels"),
        (picture(HWC)[:-60], "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded"),
        (b"\xff\xd8\xff\xe0", "cannot be decoded"),
    ],
)
def test_a_bad_picture_is_refused(data, says):
    with pytest.raises(ImageError, match=says):
        decode_picture(data, "x", 3)


def test_a_model_of_four_channels_takes_no_picture():
    with pytest.raises(ImageError, match="expects 4"):
        decode_picture(picture(HWC), "x", 4)


PNG, JPEG = picture(HWC), picture(HWC, "JPEG")


@given(st.sampled_from([PNG, JPEG]), st.data())
def test_no_damage_to_a_picture_raises_anything_else(data, draw):
    broken = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 8))):
        broken[draw.draw(st.integers(0, len(broken) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decode_picture(bytes(broken), "x", 3)
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017
