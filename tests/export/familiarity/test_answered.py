import numpy as np
import pytest

from clf_export.errors import FamiliarityError
from clf_export.familiarity.answered import answered
from clf_export.familiarity.fit import with_familiarity
from clf_export.familiarity.images import with_outliers
from clf_export.familiarity.outputs import second_output
from clf_export.proof.evidence import Evidence
from clf_export.proof.parity import run_onnx


@pytest.fixture(scope="module")
def evidence(net, images):
    def answer(batch):
        return run_onnx(net.SerializeToString(), batch)

    tested = images[:60]
    probabilities = answer(tested)
    return Evidence(tested, probabilities.argmax(axis=1), probabilities, answer, (0.0, 255.0))


def gather(images):
    return with_outliers(images[100:400], images[400:460], True, (0.0, 255.0), np.random.default_rng(0))


def test_a_model_with_its_familiarity_and_what_the_card_says_of_it(net, images, evidence):
    made = answered(net, evidence, lambda: gather(images), with_familiarity)
    assert [output.name for output in made.model.graph.output] == ["probabilities", "familiarity"]
    assert made.problem is None
    assert len(made.familiarity.golden) == len(made.golden.probabilities)
    assert made.familiarity.foreign == 1
    assert made.control.images == 60
    assert second_output(made.data, evidence.images).shape == (60,)


def test_without_one_the_model_stays_and_only_a_wish_has_a_reason(net, images, evidence):
    def too_few():
        raise FamiliarityError("too few")

    def unfit(model, known):
        raise FamiliarityError("unfit")

    tried = {
        None: answered(net, evidence, None, with_familiarity),
        "too few": answered(net, evidence, too_few, with_familiarity),
        "unfit": answered(net, evidence, lambda: gather(images), unfit),
    }
    for problem, made in tried.items():
        assert made.problem == problem
        assert (made.familiarity, made.control, made.known) == (None, None, None)
        assert made.data == net.SerializeToString(deterministic=True)
        assert len(made.golden.probabilities) == 8
