import numpy as np
import pytest

from clf_export.familiarity.outliers import KINDS, make_outliers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("shape", "dtype", "span"), [((3, 32, 32), "uint8", (0, 255)), ((1, 5, 13), "float32", (-1, 1))]
)
def test_each_kind_has_the_images_dtype_and_range_and_is_no_copy(kind, shape, dtype, span):
    low, high = span
    images = np.random.default_rng(0).uniform(low, high, (6, *shape)).astype(dtype)
    before = images.copy()
    made = make_outliers(images, span, kind, np.random.default_rng(1))
    assert made.dtype == images.dtype
    assert made.shape == images.shape
    assert made.min() >= low
    assert made.max() <= high
    assert np.isfinite(made.astype(np.float64)).all()
    assert (made != images).reshape(6, -1).any(axis=1).all()
    assert np.array_equal(images, before)
    assert np.array_equal(made, make_outliers(images, span, kind, np.random.default_rng(1)))


def test_shuffled_patches_are_the_same_patches():
    images = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8) / 400
    made = make_outliers(images, (0, 1), "2x2 patches shuffled", np.random.default_rng(3))
    for image, shuffled in zip(images, made, strict=True):
        np.testing.assert_allclose(np.sort(image, axis=None), np.sort(shuffled, axis=None), atol=1e-6)
    corners = {tuple(made[0, 0, i : i + 4, j : j + 4].round(6).ravel()) for i in (0, 4) for j in (0, 4)}
    assert corners == {tuple(images[0, 0, i : i + 4, j : j + 4].round(6).ravel()) for i in (0, 4) for j in (0, 4)}
