"""The net that is exported is the one that was trained and tested: its test accuracy, found anew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clf_export.proof.evidence import gather_evidence
from clf_export.proof.provenance import verify_accuracy
from clf_train import RunError, read_run
from clf_train.runs.run import load_net

FOLDER = Path("run")


@pytest.fixture
def trained(make_run):
    folder, dataset = make_run("conv")
    run = read_run(folder)
    return run, gather_evidence(run, load_net(folder, run), dataset), dataset.fingerprint


def test_the_accuracy_of_the_training_is_found_anew(trained):
    run, evidence, fingerprint = trained
    accuracy, said = verify_accuracy(FOLDER, run, evidence, fingerprint)
    assert accuracy == run.test.accuracy
    assert said.startswith("weights and outputs match those recorded in training; test accuracy reproduced")


def test_a_run_of_before_the_probe_is_held_to_its_accuracy(trained):
    run, evidence, fingerprint = trained
    old = replace(run, schema=4, weights_sha256=None, probe_sha256=None)
    _, said = verify_accuracy(FOLDER, old, evidence, fingerprint)
    assert said.endswith("the run is of an earlier clf-edge, without a probe")
    other = replace(evidence, reference=np.roll(evidence.reference, 1, axis=1))
    with pytest.raises(RunError, match=r"run: the net classifies \d+ of 359 test images correctly, but"):
        verify_accuracy(FOLDER, old, other, fingerprint)


def test_near_ties_may_fall_to_either_side(trained):
    run, evidence, fingerprint = trained
    predicted = evidence.reference.argmax(axis=1)
    reference = np.eye(10, dtype=np.float32)[predicted]  # no tie anywhere
    row = int(np.flatnonzero(predicted == evidence.labels)[0])
    label = int(evidence.labels[row])
    reference[row] = 0
    reference[row, [label, (label + 1) % 10]] = 0.4999, 0.5001
    accuracy, _ = verify_accuracy(FOLDER, run, replace(evidence, reference=reference), fingerprint)
    assert accuracy == pytest.approx(run.test.accuracy - 1 / 359)
    reference[row, [label, (label + 1) % 10]] = 0.4, 0.6
    with pytest.raises(RunError, match="its weights or its code have changed since"):
        verify_accuracy(FOLDER, run, replace(evidence, reference=reference), fingerprint)


def test_on_other_images_nothing_can_be_found_anew(trained):
    run, evidence, _ = trained
    accuracy, said = verify_accuracy(FOLDER, run, evidence, "other")
    assert (accuracy, said) == (run.test.accuracy, "weights and outputs match those recorded in training")
    old = replace(run, schema=4, weights_sha256=None, probe_sha256=None)
    accuracy, said = verify_accuracy(FOLDER, old, evidence, "other")
    assert accuracy is None
    assert said.startswith("not verified: the run is of an earlier clf-edge")
