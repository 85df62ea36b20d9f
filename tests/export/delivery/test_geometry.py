"""The page's geometry, in a browser, beside Pillow's: every bit."""

import base64
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from clf_export.delivery import page
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.model.geometry import Geometry

pytest.importorskip("PIL")

WEB = Path(page.__file__).parent / "web"
INPUTS = [(24, 40), (32, 32), (130, 96)]
SIZES = [(1, 1), (1, 90), (90, 1), (24, 7), (7, 40), (25, 41), (32, 32), (48, 80), (300, 31), (31, 300), (119, 200)]
GEOMETRIES = [
    *(Geometry("stretch", None), Geometry("stretch"), Geometry("crop", (9, 90, 200))),
    *(Geometry("pad"), Geometry("pad", (10, 200, 30))),
]
SCALE = """
async (cases) => {
  const { toInput } = await import("./geometry.js");
  return cases.map(([encoded, width, height, card]) => {
    const pixels = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
    const { pixels: found, ...size } = toInput({ pixels, width, height, channels: 4 }, card);
    return [btoa(Array.from(found, (v) => String.fromCharCode(v)).join("")), size.height, size.width, size.channels];
  });
}
"""
BLANK = '<!doctype html><link rel="icon" href="data:,">'


@pytest.fixture
def scale(serve, visit):
    """Let the page's script make inputs of pictures."""
    address, _ = serve(WEB)
    blank = visit(
        f"{address}blank",
        state=None,
        prepare=lambda page: page.route("**/blank", lambda route: route.fulfill(body=BLANK, content_type="text/html")),
    )

    def run(pictures, cards):
        cases = [
            [base64.b64encode(rgba.tobytes()).decode(), rgba.shape[1], rgba.shape[0], card]
            for rgba, card in zip(pictures, cards, strict=True)
        ]
        found = blank.evaluate(SCALE, cases)
        return [np.frombuffer(base64.b64decode(data), np.uint8).reshape(shape) for data, *shape in found]

    return run


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_becomes_the_same_input_as_by_pillow(scale, channels):
    random, pictures, cards, wanted = np.random.default_rng(0), [], [], []
    for geometry, (high, wide), (height, width) in product(GEOMETRIES, INPUTS, SIZES):
        rgba = random.integers(0, 256, (height, width, 4), np.uint8)
        rgba[random.random((height, width)) < 0.5, 3] = 255
        pictures.append(rgba)
        card = {"channels": channels, "height": high, "width": wide, "resizes": False}
        cards.append(card | {"fit": geometry.fit, "background": geometry.background})
        wanted.append(array_to_input(rgba, channels, (high, wide), geometry))
    for found, expected, picture, card in zip(scale(pictures, cards), wanted, pictures, cards, strict=True):
        np.testing.assert_array_equal(found, expected, f"{picture.shape} to {card}")


def test_a_photo_keeps_its_size_for_a_graph_that_scales(scale):
    rgba = np.random.default_rng(1).integers(0, 256, (9, 5, 4), np.uint8)
    card = {"channels": 3, "height": 32, "width": 32, "resizes": True, "fit": "pad", "background": [1, 2, 3]}
    [found] = scale([rgba], [card])
    np.testing.assert_array_equal(found, array_to_input(rgba, 3, None, Geometry("pad", (1, 2, 3))))
