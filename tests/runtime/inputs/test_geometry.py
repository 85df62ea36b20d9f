"""A picture of any size becomes the model's input as its card says, whether it comes as a file, opened, or an array."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clf_runtime import ImageError, ModelError
from clf_runtime.inputs.arrays import to_batch
from clf_runtime.inputs.files import picture_to_input, read_images
from clf_runtime.model.card import ModelCard
from clf_runtime.model.geometry import FITS, Geometry, box, inside

Image = pytest.importorskip("PIL.Image")

CARD = ModelCard("m", ("a", "b"), (3, 8, 12), "uint8", (0, 255), geometry=Geometry("pad", (1, 2, 3)))
SIDES = st.integers(1, 5000)


def with_fit(fit, **changes):
    return replace(CARD, geometry=Geometry(fit, (1, 2, 3)), **changes)


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def png(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(data, "PNG")
    return data.getvalue()


@given(SIDES, SIDES, st.integers(1, 300), st.integers(1, 300))
def test_the_middle_part_and_the_inner_size_have_the_proportions(h, w, high, wide):
    top, left, height, width = box((h, w), (high, wide))
    assert 1 <= height <= h
    assert 1 <= width <= w
    assert height == h or width == w
    assert abs(2 * top + height - h) <= 1
    assert abs(2 * left + width - w) <= 1
    assert abs(width - height * wide / high) <= 0.5 + (width == 1) or abs(height - width * high / wide) <= 0.5 + (
        height == 1
    )
    inner_high, inner_wide = inside((h, w), (high, wide))
    assert 1 <= inner_high <= high
    assert 1 <= inner_wide <= wide
    assert inner_high == high or inner_wide == wide


def test_stretch_scales_all_of_it():
    pixels = noise(31, 17)
    rows = Image.fromarray(pixels).resize((12, 31), Image.Resampling.BILINEAR)
    wanted = np.asarray(rows.resize((12, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(to_batch(pixels, with_fit("stretch"))[0].transpose(1, 2, 0), wanted)


def test_rows_are_scaled_before_columns_whatever_pillow_prefers():
    """Pillow 13 scales the columns of a tall picture first, which rounds otherwise: other pixels than on a device."""
    pixels = noise(276, 17)
    rows = Image.fromarray(pixels).resize((12, 276), Image.Resampling.BILINEAR)
    wanted = rows.resize((12, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(to_batch(pixels, with_fit("stretch"))[0].transpose(1, 2, 0), wanted)


def test_pad_keeps_the_proportions_between_two_bars():
    pixels = noise(40, 20)  # 8x4 in 8x12: bars of 4 columns
    found = to_batch(pixels, with_fit("pad"))[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(
        found[:, 4:8], np.asarray(Image.fromarray(pixels).resize((4, 8), Image.Resampling.BILINEAR))
    )
    assert (found[:, :4] == (1, 2, 3)).all()
    assert (found[:, 8:] == (1, 2, 3)).all()


def test_crop_takes_the_middle():
    pixels = noise(20, 100)  # 20x30 of it
    wanted = Image.fromarray(np.ascontiguousarray(pixels[:, 35:65])).resize((12, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(to_batch(pixels, with_fit("crop"))[0].transpose(1, 2, 0), np.asarray(wanted))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("of_pixels", "of_model"), [(3, 3), (1, 1), (3, 1), (1, 3), (4, 3), (4, 1)])
def test_file_opened_picture_and_array_are_one(tmp_path, fit, layout, of_pixels, of_model):
    pixels = noise(23, 31, of_pixels)
    card = with_fit(fit, image_shape=(of_model, 8, 12), layout=layout)
    (tmp_path / "x").write_bytes(png(pixels))
    [(_, image)] = read_images(tmp_path / "x", card)
    np.testing.assert_array_equal(image, picture_to_input(png(pixels), "x", card))
    file = to_batch(image, card)
    np.testing.assert_array_equal(to_batch(pixels, card), file)
    np.testing.assert_array_equal(to_batch(Image.open(tmp_path / "x"), card), file)
    np.save(tmp_path / "x.npy", np.stack([pixels, pixels[::-1]]))
    [(first, batch)] = read_images(tmp_path / "x.npy", card)
    found = to_batch(batch, card)
    assert (first, len(found)) == (0, 2)
    np.testing.assert_array_equal(found[:1], file)
    assert file.dtype == np.uint8
    assert file.shape == (1, *card.input_shape)


def test_a_picture_of_the_model_s_size_is_taken_as_it_is():
    for fit in FITS:
        np.testing.assert_array_equal(to_batch(noise(8, 12), with_fit(fit))[0].transpose(1, 2, 0), noise(8, 12))


def test_a_model_of_floats_takes_pixels_of_another_size_too():
    card = with_fit("stretch", dtype="float32", value_range=(0.0, 1.0))
    whole = to_batch(noise(31, 17), with_fit("stretch"))
    np.testing.assert_array_equal(to_batch(noise(31, 17), card), whole.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    "images",
    [
        noise(31, 17).astype(np.float32) / 255,
        noise(31, 17).astype(np.int64),
        noise(3, 31, 17),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_other_arrays_of_another_size_are_refused(images):
    with pytest.raises(ImageError, match=r"the model expects .* or a batch of them; or uint8 \[height"):
        to_batch(images, CARD)


def test_without_a_stated_geometry_arrays_have_the_model_s_size_and_pictures_are_stretched():
    """As files of schema 2 were always answered."""
    card = replace(CARD, geometry=None)
    with pytest.raises(ImageError, match=r"the model expects 3x8x12 or 8x12x3, or a batch of them$"):
        to_batch(noise(31, 17), card)
    stretched = to_batch(noise(31, 17), with_fit("stretch"))
    np.testing.assert_array_equal(picture_to_input(png(noise(31, 17)), "x", card), stretched[0])


def test_too_many_pixels_are_refused_before_they_are_copied():
    huge = np.broadcast_to(np.zeros(3, np.uint8), (10_000, 6_000, 3))
    with pytest.raises(ImageError, match="60,000,000 pixels exceed the limit"):
        to_batch(huge, CARD)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"fit": "cover"}, "fit must be one of stretch, pad, crop, not 'cover'"),
        ({"filter": "nearest"}, "filter must be bilinear"),
        ({"background": (1, 2, 256)}, "background must be three whole numbers in 0..255"),
        ({"background": (1, 2, True)}, "background must be"),
        ({"fit": "pad", "background": None}, "fit pad needs a background"),
    ],
)
def test_an_impossible_geometry_is_refused(values, says):
    with pytest.raises(ModelError, match=says):
        Geometry(**values)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_graph_that_resizes_is_given_a_picture_at_its_own_size_with_three_channels(channels):
    card = with_fit("pad", image_shape=(channels, 8, 12), layout="NHWC", input="photo")
    pixels = noise(40, 20)
    found = picture_to_input(png(pixels), "it", card)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(found, pixels if channels == 3 else np.stack([grey] * 3, axis=2))
    np.testing.assert_array_equal(to_batch(found, card), found[None])
