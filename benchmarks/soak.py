"""One Classifier under load: threads share it for a million predictions, with equal results and constant memory.

    python benchmarks/soak.py [MODEL.onnx] [--predictions N] [--threads N] [--device PROVIDER]...

With several devices there is a Classifier on each, and threads on all of them at the same time. Each thread classifies
single images and sometimes a batch, in its own order, and compares every result with the one before the load. Memory is
the resident set, read ten times (Linux). The last line is JSON; the exit code is 1 if a result differed.
"""

import argparse
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

from clf_runtime import Classifier

IMAGES = 64
TOLERANCE = 1e-6  # of a probability: a batch may round differently from a single image


def resident_mib() -> float | None:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * 4096 / (1 << 20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--device", action="append", help="cpu, cuda, or another provider; may be given again")
    options = parser.parse_args()
    classifiers = [Classifier.load(options.model, device=device) for device in options.device or ["cpu"]]
    card = classifiers[0].card
    rng = np.random.default_rng(0)
    shape = (IMAGES, *card.image_shape)
    images = rng.integers(0, 256, shape, np.uint8) if card.dtype == "uint8" else rng.random(shape, np.float32)
    all_expected = [[classifier.predict(image) for image in images] for classifier in classifiers]
    done, wrong, memory = [0] * options.threads, [0] * options.threads, list[float]()
    share = -(-options.predictions // options.threads)

    def work(number: int) -> None:
        order = np.random.default_rng(number)
        classifier, expected = classifiers[number % len(classifiers)], all_expected[number % len(classifiers)]
        while done[number] < share:
            i = int(order.integers(IMAGES))
            if i < IMAGES - 1:
                found = [(expected[i], classifier.predict(images[i]))]
            else:
                found = list(zip(expected, classifier.predict_batch(images), strict=True))
            for before, now in found:
                wrong[number] += before.index != now.index or abs(before.probability - now.probability) > TOLERANCE
            done[number] += len(found)

    begun = time.perf_counter()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(options.threads)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if sum(done) >= len(memory) * options.predictions / 10 and (now := resident_mib()) is not None:
            memory.append(now)
            print(f"{sum(done):>10,} predictions  {now:.1f} MiB", flush=True)
        time.sleep(0.05)
    seconds = time.perf_counter() - begun
    result = {
        "predictions": sum(done),
        "threads": options.threads,
        "providers": [classifier.provider for classifier in classifiers],
        "wrong": sum(wrong),
        "seconds": round(seconds, 1),
        "mib_at_a_tenth": round(memory[1], 1) if len(memory) > 1 else None,
        "mib_at_the_end": round(resident_mib() or 0, 1) or None,
    }
    print(json.dumps(result))
    return 1 if sum(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
