"""Where a class was seen: on images whose class is decided by a patch at a known place."""

import numpy as np
import pytest

from clf_runtime.explanation.occlusion import occlude

SHAPE = np.array([[1, -1, 1], [-1, 1, -1], [1, -1, 1]])  # a checkerboard, which no noise resembles


def seen_by_shape(images):
    """Two classes: how well the checkerboard, enlarged to an eighth of the side, fits where it fits best, or not."""
    size = max(3, images.shape[2] // 8)
    shape = np.kron(SHAPE, np.ones((-(-size // 3),) * 2))[:size, :size]
    values = images.astype(float).mean(1) / (255 if images.dtype == np.uint8 else 1)
    windows = np.lib.stride_tricks.sliding_window_view(values, shape.shape, axis=(1, 2))
    best = np.einsum("nyxij,ij->nyx", windows, shape).reshape(len(images), -1).max(1) / shape.size
    odds = np.exp(40 * (best - 0.25))
    return np.stack([odds / (1 + odds), 1 / (1 + odds)], 1).astype(np.float32)


def image_of(random, side, channels, dtype):
    """Noise, and the checkerboard somewhere in it: the image, and the box of the checkerboard."""
    size = max(3, side // 8)
    image = random.uniform(100, 150, (channels, side, side))
    top, left = random.integers(0, side - size + 1, 2)
    shape = np.kron(SHAPE, np.ones((-(-size // 3),) * 2))[:size, :size]
    image[:, top : top + size, left : left + size] = 127 + 120 * shape
    return (image if dtype == np.uint8 else image / 255).astype(dtype), (top, left, size)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("side", "channels"), [(16, 1), (32, 3), (45, 1), (96, 3)])
def test_the_maximum_lies_on_the_patch_that_decides(side, channels, dtype):
    random = np.random.default_rng(side)
    for _ in range(3):
        image, (top, left, size) = image_of(random, side, channels, dtype)
        found = occlude(image, seen_by_shape)
        assert found.index == 0
        assert found.probability > 0.9
        assert (found.heat.shape, found.heat.dtype) == ((side, side), np.float32)
        row, column = divmod(int(found.heat.argmax()), side)
        assert top <= row < top + size
        assert left <= column < left + size
        away = found.heat.copy()
        away[max(top - size, 0) : top + 2 * size, max(left - size, 0) : left + 2 * size] = 0
        assert away.max() < 0.1 * found.heat.max()


def test_another_class_has_the_opposite_heat_of_two():
    image, _ = image_of(np.random.default_rng(1), 32, 3, np.uint8)
    first, second = occlude(image, seen_by_shape), occlude(image, seen_by_shape, 1)
    np.testing.assert_allclose(first.heat, -second.heat, atol=1e-5)
    assert first.probability + second.probability == pytest.approx(1)


def test_a_sure_answer_has_heat_where_a_probability_would_not_move():
    """Four nats of 40 do not change a probability of 1 in float32."""

    def scores(images):
        odds = np.exp(-40 + 4.0 * (images[:, 0, 8:12, 8:12].astype(float).mean((1, 2)) < 128))
        return np.stack([1 / (1 + odds), odds / (1 + odds)], 1).astype(np.float32)

    image = np.full((1, 32, 32), 10, np.uint8)
    image[:, 8:12, 8:12] = 250
    found = occlude(image, scores)
    assert found.probability == 1
    assert 8 <= found.heat.argmax() // 32 < 12
    assert found.heat.max() > 0.5


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8), (17, 5), (64, 32)])
def test_every_pixel_of_any_size_is_covered(size):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (3, *size), np.uint8)
    seen = np.zeros(size, int)

    def scores(images):
        seen[:] += (images != image).any(1).sum(0)
        return np.full((len(images), 2), 0.5, np.float32)

    found = occlude(image, scores)
    assert np.isfinite(found.heat).all()
    assert (found.heat == 0).all()
    assert seen.min() > 0 or size == (1, 1)  # one pixel has no surroundings: it is covered with itself
    assert found.patch[0] <= size[0]
    assert found.patch[1] <= size[1]


def test_a_plain_background_is_covered_with_itself():
    """Covered with the mean of the image, it would show an object that is not there."""
    image = np.full((3, 64, 64), 255, np.uint8)
    image[:, 20:44, 20:44] = np.random.default_rng(0).integers(0, 120, (3, 24, 24), np.uint8)
    touched = []

    def scores(images):
        touched.append((images != image).any(1).sum(0))
        return np.full((len(images), 2), 0.5, np.float32)

    occlude(image, scores)
    changed = np.sum(touched, axis=0)
    assert changed[:8].sum() == changed[:, -8:].sum() == 0
    assert changed[24:40, 24:40].min() >= 3


def test_what_the_scores_take_is_bounded():
    most = []

    def scores(images):
        most.append(images.nbytes)
        return np.full((len(images), 2), 0.5, np.float32)

    occlude(np.zeros((3, 600, 600), np.float32), scores)
    assert max(most) <= 8 << 20
