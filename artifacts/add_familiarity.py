"""Give the files here the second output, familiarity, without training them anew.

    python artifacts/add_familiarity.py DATA

DATA is the CIFAR-10 that they were trained on, in any layout that clf-train takes. Each graph stays as it is; what
clf-export fits to a run's training images is fitted to it: familiarity, its golden cases of which one is foreign, its
control, and the reference for drift. A file is replaced once its probabilities for all test images are those of before
to the last bit, and it has passed its self-test.
"""

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from clf_export.familiarity.control import measure_control
from clf_export.familiarity.fit import with_familiarity
from clf_export.familiarity.golden import reference_of, with_golden
from clf_export.familiarity.images import with_outliers
from clf_export.outputs import write_model
from clf_export.proof.golden import make_golden
from clf_export.proof.parity import run_onnx
from clf_export.proof.pictures import with_golden_picture
from clf_runtime import Classifier
from clf_runtime.model.golden import golden_images
from clf_train import read_source
from clf_train.data.splitting import split_rows

KNOWN = 10_000  # as clf-export
VALIDATION_SHARE = 0.05  # of the recipe best
SEEDS = {"conv": 1, "simple": 1, "resnet8": 0}  # of the runs: see their cards


def main() -> None:
    """Replace each file that has no familiarity."""
    dataset = read_source(sys.argv[1])
    fingerprint = dataset.fingerprint
    for file in sorted(Path(__file__).parent.glob("*.onnx")):
        before = Classifier.load(file, device="cpu")
        card, tested = before.card, dataset.test.images
        if card.data_fingerprint != fingerprint or card.familiarity is not None or card.golden is None:
            print(f"{file.name}: was trained on other images, or has a familiarity; left as it is")
            continue
        seed = SEEDS[card.model]
        rest, held_out = split_rows(dataset.train.labels, VALIDATION_SHARE, seed, "the data")  # as its run had them
        random = np.random.default_rng(seed)
        known = dataset.train.images[np.sort(random.choice(rest, KNOWN, replace=False))]
        images = with_outliers(known, dataset.train.images[held_out], True, (0, 255), random)
        graph = onnx.load(file)
        del graph.metadata_props[:]
        answers = run_onnx(graph.SerializeToString(), tested)
        made, familiar = with_familiarity(graph, images)
        model = made.SerializeToString(deterministic=True)
        cases = np.concatenate([golden_images(card.golden, card), images.foreign])
        golden = make_golden(model, cases, card.golden.tolerance)
        familiar = with_golden(model, familiar, golden, cases, images)
        control = measure_control(graph, model, images, card.value_range, familiar.threshold)
        reference = reference_of(model, familiar, answers, tested)
        card = replace(card, golden=golden, familiarity=familiar, control=control, reference=reference)

        def check(data: bytes, images: np.ndarray = tested, answers: np.ndarray = answers) -> None:
            assert np.array_equal(run_onnx(data, images), answers), "the probabilities have changed"

        with ExitStack() as files:
            written = write_model(files, file, model, with_golden_picture(model, card), check)
        mean = 100 * sum(familiar.noticed) / len(familiar.noticed)
        print(f"{file.name}: {written.size:,} bytes, {written.sha256[:8]}, notices {mean:.0f} % of made outliers")


if __name__ == "__main__":
    main()
