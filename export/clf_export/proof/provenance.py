"""Whether the net that was loaded is the net that was trained and tested: the part of it that needs the test images.

`run.load_net` has held the weights to their SHA-256 and the net to its probe. Runs of clf-edge before the probe have
neither, so the test accuracy is all that they can be held to.
"""

from pathlib import Path

import numpy as np

from clf_export.proof.evidence import Evidence
from clf_train.errors import RunError
from clf_train.runs.run import Run

NEAR_TIE = 1e-3  # of a probability: the training may have run on a GPU, which rounds factors


def verify_accuracy(folder: Path, run: Run, evidence: Evidence, data_fingerprint: str) -> tuple[float | None, str]:
    """Find a run's test accuracy anew, and hold it to the one that the training wrote down.

    Returns the accuracy, a share in [0, 1], and a sentence on what shows that the net is the one that was trained. On
    images of another fingerprint than the run's nothing can be found anew: the run's own figure is returned, or None
    for a run without a probe, of whose net nothing is known then.
    Raises RunError if the two differ by more images than the near ties, whose two likeliest classes lie within 1e-3.
    """
    probed = "the weights' SHA-256 and the probe are those of the training"
    if data_fingerprint != run.data.fingerprint:
        if run.probe_sha256 is None:
            return None, "nothing: the run has no probe (it is of an earlier clf-edge), and these are other images"
        return run.test.accuracy, probed
    predicted, labels = evidence.reference.argmax(axis=1), evidence.labels
    right, wanted = int((predicted == labels).sum()), round(run.test.accuracy * run.test.images)
    top = np.partition(evidence.reference, -2, axis=1)[:, -2:]
    ties = int((top[:, 1] - top[:, 0] < NEAR_TIE).sum())
    if len(labels) != run.test.images or abs(right - wanted) > ties:
        raise RunError(
            f"{folder}: the net names {right:,} of {len(labels):,} test images rightly, when it was trained it was "
            f"{wanted:,} of {run.test.images:,}: its weights or its code are not those that were tested; train again"
        )
    found = f"the test accuracy is found anew, {right:,} of {len(labels):,}"
    if run.probe_sha256 is None:
        return right / len(labels), f"{found}; the run has no probe (it is of an earlier clf-edge)"
    return right / len(labels), f"{probed}; {found}"
