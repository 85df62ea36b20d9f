"""The execution providers of the installed onnxruntime, through `--device`: which run a model, how exactly, how fast.

    python benchmarks/providers.py MODEL.onnx... [--device NAME ...] [--pairs N]

Run it with the Python whose onnxruntime is meant, with clf-edge's runtime on its path. For each provider but the CPU's,
it is either refused, in the words that the user reads, or measured: the largest difference of a probability from the
CPU provider's on 32 images of noise, and the time of one image as a ratio to the CPU provider's, the median of N pairs
in one process. The last line is JSON.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from clf_runtime import Classifier, ClfError
from clf_runtime.engine.ort_library import CPU, import_onnxruntime, short_name

RUNS = 100  # images per measurement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--device", action="append", metavar="NAME", help="only this one; may be repeated (all)")
    parser.add_argument("--pairs", type=int, default=9, metavar="N")
    options = parser.parse_args()
    onnxruntime = import_onnxruntime()
    installed = [short_name(one) for one in onnxruntime.get_available_providers() if one != CPU]
    record = []
    for model in options.models:
        plain = Classifier.load(model, device="cpu")
        shape = plain.card.image_shape
        images = np.random.default_rng(0).integers(0, 256, (32, *shape), np.uint8)
        for device in options.device or installed:
            found: dict[str, object] = {"model": model.name, "device": device, "onnxruntime": onnxruntime.__version__}
            try:
                other = Classifier.load(model, device=device)
                difference = np.abs(other.probabilities(images) - plain.probabilities(images)).max()
                ratios = [seconds(other, images[0]) / seconds(plain, images[0]) for _ in range(options.pairs)]
                found |= {"difference": float(difference), "ratio": statistics.median(ratios)}
                print(f"{model.name} on {device}: differs by {difference:.1e}, {found['ratio']:.2f} of the CPU's time")
            except ClfError as error:
                found |= {"refused": str(error)}
                print(f"{model.name}: {error}")
            record.append(found)
    print(json.dumps(record))


def seconds(classifier: Classifier, image: np.ndarray) -> float:
    start = time.perf_counter()
    for _ in range(RUNS):
        classifier.predict(image)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
