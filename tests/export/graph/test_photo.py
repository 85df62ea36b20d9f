"""The geometry in the graph does what Pillow's does, for pictures of any size and shape."""

import numpy as np
import pytest
from PIL import Image

from clf_export.errors import ParityError, TranslationError
from clf_export.graph.photo import geometry_alone
from clf_export.proof import photos
from clf_export.proof.parity import run_onnx
from clf_export.proof.photos import refuse_photo
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.model.geometry import FITS, UNSTATED, Geometry

SHAPES = [(300, 400), (400, 300), (20, 31), (97, 1000), (500, 37), (1, 9), (9, 1), (3, 3), (48, 20), (96, 40)]


def photograph(height, width):
    random = np.random.default_rng(height * width)
    coarse = random.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(32, 32), (48, 20)])
def test_each_pixel_is_pillow_s_or_one_step_beside(fit, size):
    geometry = Geometry(fit, (200, 10, 90))
    model = geometry_alone(geometry, size).SerializeToString()
    for shape in SHAPES:
        found = run_onnx(model, photograph(*shape)[None], batch=1)[0].transpose(1, 2, 0)
        steps = np.abs(found.astype(int) - array_to_input(photograph(*shape), 3, size, geometry))
        assert steps.max() <= 1, shape
        assert (steps > 0).mean() < 0.05, shape
        if shape == size:
            assert steps.max() == 0


def test_a_geometry_that_differs_is_refused(monkeypatch):
    images = np.stack([photograph(16, 16).transpose(2, 0, 1)] * 2)
    wrong = geometry_alone(Geometry("crop"), (16, 16))
    monkeypatch.setattr(photos, "geometry_alone", lambda geometry, size: wrong)
    from clf_export.proof.evidence import Evidence

    evidence = Evidence(images, np.zeros(2, np.int64), np.zeros((2, 2)), lambda x: np.zeros((1, 2)), (0, 255))
    with pytest.raises(ParityError, match=r"a photograph of \d+x\d+ becomes another image in the graph"):
        photos.prove_photos(b"", Geometry("pad"), evidence)


class RunOf:
    def __init__(self, geometry, dtype, channels):
        self.geometry, self.dtype, self.image_shape = geometry, dtype, (channels, 8, 8)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (RunOf(UNSTATED, "uint8", 3), "train again for --input photo"),
        (RunOf(Geometry(), "float32", 3), "this one takes float32 of 3"),
        (RunOf(Geometry(), "uint8", 1), "this one takes uint8 of 1"),
    ],
)
def test_what_is_no_picture_has_no_photograph(run, says):
    with pytest.raises(TranslationError, match=says):
        refuse_photo(run)
