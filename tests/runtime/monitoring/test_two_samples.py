import numpy as np
import pytest

from clf_runtime.monitoring.two_samples import compare, design_effect, f_exceeds

# scipy.stats.f.sf
KNOWN = [
    (0.5, 3, 20, 0.686518612836403),
    (3, 9, 63, 0.0048642565143361734),
    (12, 9, 63, 8.946209950585886e-11),
    (60, 9, 63, 1.6582776743905704e-27),
    (1.2, 999, 6993, 4.599163635849828e-05),
]


@pytest.mark.parametrize(("value", "above", "below", "known"), KNOWN)
def test_the_f_distribution_is_that_of_the_tables(value, above, below, known):
    assert f_exceeds(value, above, below) == pytest.approx(known, rel=1e-8)


def test_it_ends_at_0_and_1():
    assert (f_exceeds(0, 9, 63), f_exceeds(1e12, 9, 63)) == (1, pytest.approx(0, abs=1e-100))


def test_independent_images_have_a_design_effect_of_one_and_repeated_ones_of_their_number():
    random = np.random.default_rng(0)
    expected = np.full((64, 5), 40.0)
    once = random.multinomial(200, [0.2] * 5, 64)
    repeated = 10 * random.multinomial(20, [0.2] * 5, 64)
    assert design_effect(once, expected) == pytest.approx(1, abs=0.3)
    assert design_effect(repeated, expected) == pytest.approx(10, rel=0.3)


def test_p_values_of_the_same_world_are_uniform_for_images_that_resemble_each_other_too():
    random = np.random.default_rng(1)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    for repeats in (1, 5):
        found = []
        for _ in range(400):
            blocks = repeats * random.multinomial(400 // repeats, shares, 16)
            reference = random.multinomial(3000, shares) / 3000
            effect = design_effect(blocks, np.tile(400 * reference, (16, 1)))
            found.append(compare(blocks.sum(0), 6400 * reference, effect, 16, 1 / 3000).p_value)
        assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.05)


def test_another_world_has_its_distance():
    found = compare(np.array([700.0, 300.0]), np.array([400.0, 600.0]), 1.0, 16, 1e-4)
    assert found.distance == pytest.approx(0.3, abs=0.001)
    assert found.p_value < 1e-6


def test_rare_cells_are_one_and_too_few_images_say_nothing():
    expected = np.array([500.0, *[0.5] * 100])
    assert compare(np.array([450.0, *[1.0] * 100]), expected, 1.0, 16, 1e-4).p_value < 1e-3
    assert compare(np.array([40.0, 0.0]), np.array([20.0, 20.0]), 30.0, 16, 1e-4).p_value == 1


def test_the_same_world_has_hardly_a_distance_however_small_the_samples():
    random = np.random.default_rng(2)
    shares = np.full(10, 0.1)
    for reference in (100, 10_000):
        drawn = [random.multinomial(5000, shares) for _ in range(50)]
        expected = [5000 * random.multinomial(reference, shares) / reference for _ in range(50)]
        found = [compare(a, b, 1.0, 16, 1 / reference).distance for a, b in zip(drawn, expected, strict=True)]
        assert np.median(found) < 0.06  # it is 0.12 for the few, chance included
