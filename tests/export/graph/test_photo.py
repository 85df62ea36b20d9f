"""The geometry in front of a graph, compared with Pillow's."""

import numpy as np
import onnx
import pytest

from clf_export.errors import TranslationError
from clf_export.graph.photo import with_photo_input
from clf_runtime.engine.engine import open_engine
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.model.geometry import Geometry

pytest.importorskip("PIL")

HIGH, WIDE = 24, 40
SIZES = [(1, 1), (1, 90), (90, 1), (HIGH, 7), (7, WIDE), (25, 41), (48, 80), (300, 31), (31, 300), (119, 200), (12, 20)]


def identity(channels, dtype="uint8", high=HIGH, wide=WIDE):
    """A model whose output is its input."""
    shape = f"{dtype}[batch, {channels}, {high}, {wide}]"
    head = f'<ir_version: 8, opset_import: ["" : 18]> g ({shape} image) => ({shape} y)'
    return onnx.parser.parse_model(f"{head} {{ y = Identity (image) }}")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("geometry", [
    Geometry("stretch", None), Geometry("crop"), Geometry("pad"), Geometry("pad", (10, 200, 30)),
])  # fmt: skip
def test_a_graph_scales_as_pillow_does(channels, geometry):
    model = with_photo_input(identity(channels), (channels, HIGH, WIDE), geometry)
    assert (model.opset_import[0].version, model.ir_version) == (18, 8)
    engine, random = open_engine(model.SerializeToString(), "it", device="cpu"), np.random.default_rng(0)
    off = []
    for size in SIZES:
        photo = random.integers(0, 256, (*size, 3), np.uint8)
        wanted = array_to_input(photo, channels, (HIGH, WIDE), geometry).astype(int)
        difference = np.abs(engine.run(photo[None])[0].transpose(1, 2, 0) - wanted)
        assert difference.max() <= 1
        off.append((difference > 0).mean())
    assert max(off) < 0.1
    assert np.mean(off) < 0.02


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_a_photo_of_the_models_size_passes_unchanged(fit):
    photo = np.random.default_rng(0).integers(0, 256, (1, HIGH, WIDE, 3), np.uint8)
    photo[0, :9, :].reshape(-1)[:256] = np.arange(256)
    for channels in (1, 3):
        model = with_photo_input(identity(channels), (channels, HIGH, WIDE), Geometry(fit))
        image = photo if channels == 3 else np.repeat(photo[..., :1], 3, axis=3)
        found = open_engine(model.SerializeToString(), "it", device="cpu").run(image)
        np.testing.assert_array_equal(found, image.transpose(0, 3, 1, 2)[:, :channels])


@pytest.mark.parametrize(("model", "shape"), [
    (identity(3, "float"), (3, HIGH, WIDE)), (identity(4), (4, HIGH, WIDE)), (identity(3, wide=3), (3, HIGH, 3)),
])  # fmt: skip
def test_what_is_no_photo_is_refused(model, shape):
    with pytest.raises(TranslationError, match="cannot take photos"):
        with_photo_input(model, shape, Geometry())


def test_each_colour_becomes_the_grey_that_pillow_makes_of_it():
    from PIL import Image

    model = with_photo_input(identity(1, high=4096, wide=4096), (1, 4096, 4096), Geometry())
    photo = np.arange(1 << 24, dtype="<u4").view(np.uint8).reshape(4096, 4096, 4)[..., :3]
    found = open_engine(model.SerializeToString(), "it", device="cpu").run(photo[None])
    np.testing.assert_array_equal(found[0, 0], np.asarray(Image.fromarray(photo.copy()).convert("L")))
