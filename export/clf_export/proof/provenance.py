"""Whether the net that was loaded is the net that was trained and tested: the check that needs the test images.

`run.load_net` has already checked the SHA-256 of the weights and the net's outputs on the run's probe. Runs of earlier
versions have neither, so for them the test accuracy is the only check.
"""

from pathlib import Path

import numpy as np

from clf_export.proof.evidence import Evidence
from clf_train.errors import RunError
from clf_train.runs.run import Run

NEAR_TIE = 1e-3  # of a probability: the training may have run on a GPU, which rounds differently


def verify_accuracy(folder: Path, run: Run, evidence: Evidence, data_fingerprint: str) -> tuple[float | None, str]:
    """Recompute a run's test accuracy, and compare it with the one that the training recorded.

    Returns the accuracy, a fraction in [0, 1], and a phrase that says how the net was verified. Images of another
    fingerprint than the run's allow no such check: then the recorded accuracy is returned, or None for a run without a
    probe, whose net cannot be verified. A run without test images has no accuracy on any that it was not trained on.
    Raises RunError if the two differ by more images than there are near ties (top two probabilities within 1e-3).
    """
    probed = "weights and outputs match those recorded in training"
    if not run.has_test:
        return None, f"{probed}; there are no test images, it was trained on all {run.data.train_images:,}"
    if data_fingerprint != run.data.fingerprint:
        if run.probe_sha256 is None:
            return None, "not verified: the run is of an earlier clf-edge, without a probe, and these are other images"
        return run.test.accuracy, probed
    predicted, labels = evidence.reference.argmax(axis=1), evidence.labels
    right, wanted = int((predicted == labels).sum()), round(run.test.accuracy * run.test.images)
    top = np.partition(evidence.reference, -2, axis=1)[:, -2:]
    ties = int((top[:, 1] - top[:, 0] < NEAR_TIE).sum())
    if len(labels) != run.test.images or abs(right - wanted) > ties:
        raise RunError(
            f"{folder}: the net classifies {right:,} of {len(labels):,} test images correctly, but {wanted:,} of "
            f"{run.test.images:,} when it was trained: its weights or its code have changed since; train again"
        )
    found = f"test accuracy reproduced, {right:,} of {len(labels):,} correct"
    if run.probe_sha256 is None:
        return right / len(labels), f"{found}; the run is of an earlier clf-edge, without a probe"
    return right / len(labels), f"{probed}; {found}"
