import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from clf_runtime.datasets.holdout import hold_out


@given(
    st.lists(st.integers(2, 60), min_size=2, max_size=12),
    st.sampled_from([0.05, 0.1, 0.2, 0.5]),
    st.integers(0, 3),
    st.booleans(),
)
def test_the_rows_are_those_of_scikit_learn(counts, share, seed, shuffled):
    labels = np.repeat(np.arange(len(counts)), counts)
    if shuffled:
        labels = np.random.default_rng(seed).permutation(labels)
    held = max(round(share * len(labels)), len(counts))
    _, expected = train_test_split(np.arange(len(labels)), test_size=held, random_state=seed, stratify=labels)
    np.testing.assert_array_equal(hold_out(labels, share, seed), np.sort(expected))


def test_a_class_of_one_image_is_refused():
    with pytest.raises(ValueError, match="one image"):
        hold_out(np.array([0, 0, 1]), 0.2, 0)
