"""The proofs of an adoption beside that of the test images: any batch size, and the images that are not tested."""

import numpy as np

from clf_export.adoption.original import Original
from clf_export.adoption.pictures import Pictures
from clf_export.errors import AdoptionError, ParityError
from clf_export.proof.evidence import Evidence
from clf_export.proof.independence import make_pool, onnx_scores, prove_independence
from clf_export.proof.parity import Comparison, compare, run_onnx

ORIGIN = "the original"  # in the messages of a proof


def prove_any_batch(original: Original, plain: bytes, evidence: Evidence) -> None:
    """Check that an image's scores do not depend on its batch.

    Raises ParityError if they do; AdoptionError if the original takes one batch size, of which its graph is not freed.
    """
    try:
        pool = make_pool(evidence.images, evidence.value_range)
        prove_independence(onnx_scores(plain), pool, "the net")
    except ParityError as error:
        if original.batch is None:
            raise
        raise AdoptionError(
            f"{original.path}: takes batches of {original.batch} only, and its graph cannot be changed to take any: "
            f"export it with a dynamic batch axis ({error})"
        ) from None


def prove_rest(plain: bytes, pictures: Pictures, reference: np.ndarray, labels: np.ndarray) -> Comparison | None:
    """Compare the images that are not tested. Raises ParityError if they differ; None if there are none."""
    rows = pictures.rest
    if not len(rows):
        return None
    found = compare(reference[rows], run_onnx(plain, pictures.images[rows]), labels[rows])
    if not found.passed:
        raise ParityError(
            f"onnxruntime's outputs differ from {ORIGIN}'s, so no file is written: on the {len(rows):,} images that "
            f"are not tested, {found.problem()}"
        )
    return found
