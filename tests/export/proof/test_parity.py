import numpy as np
import pytest

from clf_export.proof.parity import TOLERANCE, compare

LABELS = np.array([0, 1])
REFERENCE = np.array([[0.6, 0.4], [0.3, 0.7]], np.float32)


def test_equal_answers_pass():
    result = compare(REFERENCE, REFERENCE.copy(), LABELS)
    assert result.passed
    assert (result.images, result.max_difference, result.differing) == (2, 0, 0)
    assert (result.torch_accuracy, result.onnx_accuracy) == (1, 1)


@pytest.mark.parametrize(("difference", "passed"), [(0.9 * TOLERANCE, True), (1.2 * TOLERANCE, False)])
def test_a_probability_may_differ_by_the_tolerance(difference, passed):
    answers = REFERENCE + np.float32([difference, -difference])
    assert compare(REFERENCE, answers, LABELS).passed is passed


def test_a_class_may_differ_in_a_tie_only():
    tie = np.array([[0.50001, 0.49999]], np.float32)
    result = compare(tie, tie[:, ::-1], LABELS[:1])
    assert (result.differing, result.untied, result.passed) == (1, 0, True)
    result = compare(REFERENCE, REFERENCE[:, ::-1], LABELS)
    assert (result.differing, result.untied, result.passed) == (2, 2, False)
    assert "2 of 2 predictions differ, near ties not counted" in result.problem()


@pytest.mark.parametrize("answers", [np.full_like(REFERENCE, np.nan), REFERENCE[:1], REFERENCE[:, :1]])
def test_answers_that_are_none_never_pass(answers):
    assert not compare(REFERENCE, answers, LABELS).passed
