"""How well the head of the pretrained model does on photographs: five folds, as often as is asked for.

    python benchmarks/backbone.py FOLDER [--model efficientnet_lite0|efficientnet_lite1] [--times 3]
        [--fit pad|stretch|crop] [--side 224]

FOLDER holds class-named folders of pictures. All of them are used: a fold is tested by a head that is fitted, with all
that is chosen for it, to the other four.
"""

import argparse
import json
import time

import numpy as np
import torch

from clf_runtime.model.geometry import FITS, USUAL, Geometry
from clf_train import read_source
from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation
from clf_train.loop.fit import Watcher
from clf_train.loop.head import cross_entropy, features, folds, regress
from clf_train.models.defaults import PHOTOGRAPHS, default_size
from clf_train.models.registry import build_model, find_architecture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--fit", choices=FITS, default=USUAL.fit)
    parser.add_argument("--model", default=PHOTOGRAPHS)
    parser.add_argument("--side", type=int, help="pixels; by default that of the model's weights")
    options = parser.parse_args()
    size = default_size([options.model]) if options.side is None else (options.side, options.side)
    dataset = read_source(options.folder, size=size, geometry=Geometry(options.fit))
    parts = dataset.train, dataset.test
    images = Split(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels")))
    architecture = find_architecture(options.model)
    net = build_model(options.model, dataset.image_shape, len(dataset.names))
    architecture.load(net)
    normalise = Normalisation(*architecture.pretrained.normalisation(dataset.value_range, dataset.image_shape[0]))
    began = time.perf_counter()
    x = features(net, images.images, normalise, torch.device("cpu"), Watcher())
    print(f"features of {len(x)} images: {time.perf_counter() - began:.1f} s")
    accuracies, losses, began = [], [], time.perf_counter()
    for seed in range(options.times):
        fold = folds(images.labels, 5, 1000 + seed)
        for i in range(5):
            found = regress(x[fold != i], images.labels[fold != i], len(dataset.names), seed)
            scores = x[fold == i] @ found.weight.T + found.bias
            accuracies.append(float((scores.argmax(1) == images.labels[fold == i]).mean()))
            losses.append(cross_entropy(scores, images.labels[fold == i]))
        print(f"seed {seed}: {100 * np.mean(accuracies[-5:]):.2f} %")
    seconds = (time.perf_counter() - began) / len(accuracies)
    print(json.dumps({"accuracy": np.mean(accuracies), "cross_entropy": np.mean(losses), "seconds_a_head": seconds}))


if __name__ == "__main__":
    main()
