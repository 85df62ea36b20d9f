"""What to cover a patch with, so that occlusion finds the pixels that a model's class depends on.

    python benchmarks/explain.py DATA [MODEL.onnx...] [--images N]

For training images of DATA, with each cover: pixels are removed from the image in the order of the heat map (deletion:
the class's probability should fall soon), and added to a blurred one (insertion: it should rise soon). Petsiuk et al.,
2018, RISE, BMVC. A figure is the mean probability over eleven shares of the pixels, 0 to 100 %; `random` is a heat map
of noise. What is removed is replaced by the blurred image, which is none of the covers. The last line is JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from clf_runtime import Classifier
from clf_runtime.explanation.occlusion import Patch, occlude, surroundings
from clf_train import read_source

SHIPPED = [str(Path(__file__).parents[1] / "artifacts" / f"{name}.onnx") for name in ("conv", "resnet8")]
SHARES = np.linspace(0, 1, 11)


def mean_of_image(image: np.ndarray, patch: Patch) -> np.ndarray:
    return image.mean((1, 2), keepdims=True)


def mid_grey(image: np.ndarray, patch: Patch) -> np.ndarray:
    return np.full((len(image), 1, 1), 128.0)


COVERS = {"surroundings": surroundings, "mean of the image": mean_of_image, "grey": mid_grey}


def blurred(image: np.ndarray) -> np.ndarray:
    """The image under a box of 13 x 13 pixels, twice."""
    values = image.astype(np.float64)
    for _ in range(2):
        padded = np.pad(values, ((0, 0), (6, 6), (6, 6)), mode="edge")
        values = np.lib.stride_tricks.sliding_window_view(padded, (13, 13), axis=(1, 2)).mean((3, 4))
    return np.rint(values).astype(np.uint8)


def remove_and_add(classifier: Classifier, image: np.ndarray, heat: np.ndarray, index: int) -> tuple[float, ...]:
    order, plain = np.argsort(-heat.ravel(), kind="stable"), blurred(image)
    found = []
    for start, other in ((image, plain), (plain, image)):
        steps = np.repeat(start.reshape(1, len(image), -1), len(SHARES), axis=0)
        for step, share in zip(steps, SHARES, strict=True):
            moved = order[: round(share * heat.size)]
            step[:, moved] = other.reshape(len(image), -1)[:, moved]
        found.append(float(classifier.probabilities(steps.reshape(-1, *image.shape))[:, index].mean()))
    return tuple(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("files", metavar="MODEL.onnx", nargs="*", default=SHIPPED)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    images = read_source(options.data).train.images
    images = np.asarray(images[np.sort(random.choice(len(images), options.images, replace=False))])
    results = []
    for file in options.files:
        classifier = Classifier.load(file, device="cpu")
        for name in (*COVERS, "random"):
            figures, began = [], time.perf_counter()
            for image in images:
                found = occlude(image, classifier.probabilities, cover=COVERS.get(name))
                heat = random.random(found.heat.shape) if name == "random" else found.heat
                figures.append(remove_and_add(classifier, image, heat, found.index))
            deletion, insertion = np.mean(figures, axis=0)
            seconds = (time.perf_counter() - began) / len(images)
            said = f"deletion {deletion:.3f}  insertion {insertion:.3f}  {seconds:.2f} s each"
            print(f"{Path(file).stem:8} {name:18} {said}")
            results.append(
                {"model": Path(file).stem, "cover": name, "deletion": float(deletion), "insertion": float(insertion)}
            )
    print(json.dumps({"images": options.images, "seed": 0, "results": results}))


if __name__ == "__main__":
    main()
