"""What int8 is worth for exported float32 files on this machine: what `clf-export RUN --int8 auto` would say.

    python benchmarks/int8.py DATA conv.onnx:1 simple.onnx:1 resnet8.onnx:0

DATA is the training's source, the number behind a file the seed of its training: with its recipe they give the
validation images that the training held out. Accuracies are those of the validation images; speeds are measured in
pairs on one thread (see clf_export/int8/verdict.py). The last line is JSON.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import onnx

from clf_export.int8.held_out import choose_images
from clf_export.int8.quantize import quantise
from clf_runtime import Classifier
from clf_train import find_recipe, read_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("files", metavar="FILE:SEED", nargs="+")
    options = parser.parse_args()
    dataset = read_source(options.data)
    results = []
    for word in options.files:
        name, _, seed = word.rpartition(":")
        card = Classifier.load(name, device="cpu").card
        if card.data_fingerprint != dataset.fingerprint:
            parser.error(f"{options.data}: does not hold the images that {name} was trained on")
        run = SimpleNamespace(seed=int(seed), recipe=find_recipe(card.recipe, card.model))
        images = choose_images(dataset, run)
        model = onnx.load(name)
        del model.metadata_props[:]
        plain = model.SerializeToString(deterministic=True)
        began = time.perf_counter()
        made = quantise(plain, images.calibration, images.validation, images.labels, unseen=images.unseen, watch=print)
        print(f"{name}: {made.verdict.reason()}\n  {made.verdict.setting}, {time.perf_counter() - began:.0f} s")
        for trial in made.tried:
            figures = trial.judgement
            drop = "" if figures is None else f"{figures.drop:+.2f} points, class {figures.worst_drop:+.2f}"
            print(f"  {trial.setting}: {drop}, {trial.size} bytes, speed {trial.batch_1_ratio}, {trial.problem}")
        results.append({"file": Path(name).name, **asdict(made.verdict), "names": card.names})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
